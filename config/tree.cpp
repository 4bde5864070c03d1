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
  explicit builder(findings& problems) : problems_(problems) {}

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
    put({.what = tree::kind::nothing, .at = to_mark(at)});
  }

  void OnAlias(const YAML::Mark& at, YAML::anchor_t) override {
    stop(at, "aliases (*name) are not supported; write the value out");
  }

  void OnScalar(const YAML::Mark& at, const std::string& tag, YAML::anchor_t anchor, const std::string& text) override {
    refuse_anchor(at, anchor);
    refuse_tag(at, tag);
    if (expects_key())
      return take_key(at, text);
    put({.what = tree::kind::scalar, .at = to_mark(at), .text = text, .quoted = tag == "!"});
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

  void take_key(const YAML::Mark& at, const std::string& text) {
    open_tree& top = open_.back();
    if (top.content.members.size() == members_max)
      stop(at, "more than " + std::to_string(members_max) + " members in one section");
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
    std::string path = path_of_next();
    open_.push_back({.content = {.what = kind, .at = to_mark(at)}, .path = std::move(path)});
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
    if (!top.duplicate)
      top.content.members.push_back({std::move(top.key), top.key_at, std::move(value)});
    top.has_key = top.duplicate = false;
    top.key.clear();
  }

  findings& problems_;
  tree root_;
  std::vector<open_tree> open_;
  int documents_ = 0;
};

std::string advice_for(const std::string& message) {
  if (message.find("tab") != std::string::npos)
    return "indent with spaces";
  if (message.find("FLOW") != std::string::npos || message.find("flow") != std::string::npos)
    return "check that every { and [ above is closed and members are separated by commas";
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
  builder events{problems};
  try {
    std::istringstream stream{std::string{text}};
    YAML::Parser parser{stream};
    while (parser.HandleNextDocument(events)) {
    }
    return events.take();
  } catch (const stopped&) {
  } catch (const YAML::Exception& e) {
    problems.add(e.mark.is_null() ? mark{} : to_mark(e.mark), "",
                 "the syntax is wrong: " + e.msg + "; " + advice_for(e.msg));
  } catch (const std::exception&) {
    problems.add(mark{}, "", "the file cannot be parsed");
  }
  return std::nullopt;
}

} // namespace penstock::config
