#include "config/tree.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <exception>
#include <istream>
#include <sstream>

namespace penstock::config {

namespace {

/// Ends the parser from inside an event; the problem is recorded already.
struct stopped : std::exception {};

mark to_mark(const YAML::Mark& at) {
  return {static_cast<std::size_t>(std::max(at.line, 0)) + 1, static_cast<std::size_t>(std::max(at.column, 0)) + 1};
}

/// Builds the tree from events. yaml-cpp's own node tree would drop duplicate keys and expand aliases without a limit.
class builder : public YAML::EventHandler {
public:
  builder(std::string_view text, findings& problems) : text_(text), problems_(problems) {}

  tree take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& at) override {
    if (++documents_ > 1)
      stop(at, "a second document begins here; a configuration is one document, so remove the '---'");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& at, YAML::anchor_t anchor) override {
    refuse_anchor(at, anchor);
    if (expects_key())
      stop(at, "a key is missing before ':'");
    put({.what = tree::kind::nothing, .at = to_mark(at), .members = {}});
  }

  void OnAlias(const YAML::Mark& at, YAML::anchor_t) override {
    stop(at, "aliases (*name) are not supported; write the value out");
  }

  void OnScalar(const YAML::Mark& at, const std::string& tag, YAML::anchor_t anchor, const std::string& text) override {
    refuse_anchor(at, anchor);
    refuse_tag(at, tag);
    refuse_open_quote(at);
    if (expects_key())
      return take_key(at, text);
    if (!open_.empty())
      refuse_more_than_max(at, open_.back().content.items.size());
    put({.what = tree::kind::scalar, .at = to_mark(at), .text = text, .quoted = tag == "!", .members = {}});
  }

  void OnSequenceStart(const YAML::Mark& at, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(at, tag, anchor, tree::kind::list);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& at, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(at, tag, anchor, tree::kind::map);
  }
  void OnMapEnd() override { close(); }

private:
  struct open_tree {
    tree content;
    std::string path;
    std::string key = {}; ///< of the member whose value comes next
    mark key_at = {};
    bool has_key = false;
    bool duplicate = false;
  };

  bool expects_key() const {
    return !open_.empty() && open_.back().content.what == tree::kind::map && !open_.back().has_key;
  }

  std::string path_of_next() const {
    if (open_.empty())
      return {};
    const open_tree& top = open_.back();
    if (expects_key())
      return top.path;
    return top.content.what == tree::kind::map ? below(top.path, fit_for_path(top.key))
                                               : below(top.path, top.content.items.size());
  }

  [[noreturn]] void stop(const YAML::Mark& at, const std::string& text) {
    problems_.add(to_mark(at), path_of_next(), text);
    throw stopped{};
  }

  void refuse_anchor(const YAML::Mark& at, YAML::anchor_t anchor) {
    if (anchor != 0)
      stop(at, "anchors (&name) are not supported; write the value out");
  }

  // yaml-cpp marks plain scalars "?", quoted ones "!".
  void refuse_tag(const YAML::Mark& at, const std::string& tag) {
    if (!tag.empty() && tag != "?" && tag != "!")
      stop(at, "tags (!name) are not supported; remove it");
  }

  // yaml-cpp takes the rest of the file for the text where a quote is not closed.
  void refuse_open_quote(const YAML::Mark& at) {
    const auto begin = static_cast<std::size_t>(std::max(at.pos, 0));
    if (begin >= text_.size() || (text_[begin] != '"' && text_[begin] != '\''))
      return;
    const char quote = text_[begin];
    for (std::size_t i = begin + 1; i < text_.size(); ++i) {
      if (quote == '"' && text_[i] == '\\')
        ++i;
      else if (text_[i] == quote)
        return;
    }
    stop(at, "this quote is never closed");
  }

  void refuse_more_than_max(const YAML::Mark& at, std::size_t members) {
    if (members == members_max)
      stop(at, "more than " + std::to_string(members_max) + " members in one section or list");
  }

  void take_key(const YAML::Mark& at, const std::string& text) {
    open_tree& top = open_.back();
    refuse_more_than_max(at, top.content.members.size());
    top.key = text;
    top.key_at = to_mark(at);
    top.has_key = true;
    if (const tree::member* first = top.content.find(text)) {
      top.duplicate = true;
      problems_.add(to_mark(at), path_of_next(),
                    "stands here twice, first in line " + std::to_string(first->at.line) + "; remove one");
    }
  }

  void open(const YAML::Mark& at, const std::string& tag, YAML::anchor_t anchor, tree::kind kind) {
    refuse_anchor(at, anchor);
    refuse_tag(at, tag);
    if (expects_key())
      stop(at, "a key must be a plain word, not " + std::string{name_of(kind)});
    if (open_.size() == nesting_max)
      stop(at, "nested deeper than " + std::to_string(nesting_max) + " levels; check the brackets and the indentation");
    if (!open_.empty())
      refuse_more_than_max(at, open_.back().content.items.size());
    std::string path = path_of_next();
    open_.push_back({.content = {.what = kind, .at = to_mark(at), .members = {}}, .path = std::move(path)});
  }

  void close() {
    tree done = std::move(open_.back().content);
    open_.pop_back();
    put(std::move(done));
  }

  void put(tree value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return;
    }
    open_tree& top = open_.back();
    if (top.content.what == tree::kind::list) {
      top.content.items.push_back(std::move(value));
      return;
    }
    // An empty value has no place of its own: the parser gives what comes after it.
    if (value.what == tree::kind::nothing)
      value.at = top.key_at;
    if (!top.duplicate)
      top.content.members.push_back({std::move(top.key), top.key_at, std::move(value)});
    top.has_key = top.duplicate = false;
    top.key.clear();
  }

  std::string_view text_;
  findings& problems_;
  tree root_;
  std::vector<open_tree> open_;
  int documents_ = 0;
};

/// The length of the UTF-8 character that `text` begins with; 0 where it begins with none.
std::size_t character_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const unsigned lead = byte(0);
  const std::size_t length = lead < 0x80                   ? 1
                             : lead >= 0xC2 && lead < 0xE0 ? 2
                             : lead >= 0xE0 && lead < 0xF0 ? 3
                             : lead >= 0xF0 && lead < 0xF5 ? 4
                                                           : 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xC0u) != 0x80u)
      return 0;
  const bool overlong = (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xF0 && byte(1) < 0x90);
  const bool surrogate = lead == 0xED && byte(1) >= 0xA0;
  const bool beyond = lead == 0xF4 && byte(1) >= 0x90;
  return lead == 0 || overlong || surrogate || beyond ? 0 : length;
}

/// Finds what is not UTF-8 text, so that no setting can hold it.
bool is_text(std::string_view text, findings& problems) {
  mark at{1, 1};
  while (!text.empty()) {
    const std::size_t length = character_length(text);
    if (length == 0) {
      problems.add(at, "", "this is not UTF-8 text; save the file as UTF-8");
      return false;
    }
    at = text.front() == '\n' ? mark{at.line + 1, 1} : mark{at.line, at.column + length};
    text.remove_prefix(length);
  }
  return true;
}

/// True if the line is indented with a tab, which YAML forbids and yaml-cpp reports as something else.
bool has_tab(std::string_view text, std::size_t line) {
  std::size_t begin = 0;
  for (; line > 1 && begin < text.size(); --line)
    begin = std::min(text.find('\n', begin), text.size() - 1) + 1;
  const auto end = text.find_first_not_of(" \t", begin);
  return text.substr(begin, end == std::string_view::npos ? end : end - begin).find('\t') != std::string_view::npos;
}

std::string advice_for(const YAML::Exception& e, std::string_view text) {
  const mark at = to_mark(e.mark);
  if (has_tab(text, at.line) || (at.line > 1 && has_tab(text, at.line - 1)))
    return "indent with spaces, not with tabs";
  if (e.msg.find("unicode") != std::string::npos)
    return "write the character itself, in UTF-8";
  if (e.msg.find("flow") != std::string::npos)
    return "check that every { and [ above is closed, that commas separate their members, and that a value with ${...} "
           "in "
           "them stands in quotes";
  return "check the indentation, the quotes and the colons here and in the line above";
}

} // namespace

const tree::member* tree::find(std::string_view key) const {
  const auto found = std::find_if(members.begin(), members.end(), [&](const member& m) { return m.key == key; });
  return found == members.end() ? nullptr : &*found;
}

std::string_view name_of(tree::kind kind) {
  switch (kind) {
  case tree::kind::nothing: return "empty";
  case tree::kind::scalar: return "a single value";
  case tree::kind::list: return "a list";
  case tree::kind::map: return "a section";
  }
  return "unknown";
}

std::optional<tree> parse(std::string_view text, findings& problems) {
  if (text.size() > file_bytes_max) {
    problems.add(mark{}, "", "the file is larger than 1 MiB; is it a configuration?");
    return std::nullopt;
  }
  if (text.starts_with("\xEF\xBB\xBF"))
    text.remove_prefix(3);
  if (!is_text(text, problems))
    return std::nullopt;
  builder events{text, problems};
  try {
    std::istringstream stream{std::string{text}};
    YAML::Parser parser{stream};
    while (parser.HandleNextDocument(events)) {
    }
    return events.take();
  } catch (const stopped&) {
  } catch (const YAML::Exception& e) {
    problems.add(e.mark.is_null() ? mark{} : to_mark(e.mark), "",
                 "the syntax is wrong: " + e.msg + "; " + advice_for(e, text));
  } catch (const std::exception&) {
    problems.add(mark{}, "", "the file cannot be parsed");
  }
  return std::nullopt;
}

} // namespace penstock::config
