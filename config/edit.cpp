#include "config/edit.hpp"

#include "config/tree.hpp"

#include <algorithm>
#include <optional>

namespace penstock::config {

namespace {

constexpr std::string_view section_name = "publish";
constexpr std::size_t indentation_default = 2; // of `content` too

error unsupported(const std::string& why) { return error{errc::unsupported, why + ": edit it by hand"}; }

/// A text by lines, each with its line end.
std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size() - 1);
    lines.emplace_back(text.substr(0, end + 1));
    text.remove_prefix(end + 1);
  }
  return lines;
}

bool is_blank(const std::string& line) { return line.find_first_not_of(" \t\r\n") == std::string::npos; }

/// Of two trees that differ at most in `publish.NAME`: is the rest the same?
tree without(tree root, const std::string& name) {
  const auto section = std::find_if(root.members.begin(), root.members.end(),
                                    [](const tree::member& each) { return each.key == section_name; });
  if (section == root.members.end())
    return root;
  std::erase_if(section->value.members, [&](const tree::member& each) { return each.key == name; });
  if (section->value.members.empty() && section->value.what != tree::kind::scalar)
    root.members.erase(section);
  return root;
}

bool is_same(const tree& one, const tree& other) {
  return one.what == other.what && one.text == other.text && one.quoted == other.quoted &&
         std::equal(one.items.begin(), one.items.end(), other.items.begin(), other.items.end(), is_same) &&
         std::equal(
           one.members.begin(), one.members.end(), other.members.begin(), other.members.end(),
           [](const tree::member& a, const tree::member& b) { return a.key == b.key && is_same(a.value, b.value); });
}

class editor {
public:
  static result<editor> open(std::string_view text);

  result<std::string> add(const std::string& name, const std::vector<std::string>& content);
  result<std::string> remove(const std::string& name);

private:
  editor(std::string_view text, tree root) : root_(std::move(root)), lines_(lines_of(text)) {
    end_ = !lines_.empty() && lines_.front().ends_with("\r\n") ? "\r\n" : "\n";
  }

  bool is_flow(const tree& value) const {
    return value.what == tree::kind::map && value.at.line > 0 && value.at.line <= lines_.size() &&
           lines_[value.at.line - 1].substr(value.at.column - 1, 1) == "{";
  }
  std::size_t after(const tree::member& member) const;
  static std::optional<std::size_t> indentation_in(const tree::member& section);
  std::size_t indentation_usual() const;
  result<void> empty_section(const tree::member& section);
  void insert(std::size_t at, const std::string& name, std::size_t outer, std::size_t step,
              const std::vector<std::string>& content);
  result<std::string> finished(const std::string& name, bool there) const;

  tree root_;
  std::vector<std::string> lines_;
  std::string end_;
};

result<editor> editor::open(std::string_view text) {
  findings problems{"the configuration"};
  auto root = parse(text, problems);
  if (!root || !problems.empty() || root->what != tree::kind::map)
    return unsupported("the configuration is not a YAML document with sections");
  editor made{text, *std::move(root)};
  if (made.is_flow(made.root_))
    return unsupported("the configuration is JSON (or written like it)");
  return made;
}

/// The line behind the last one of the member: what is indented deeper belongs to it, comments too.
std::size_t editor::after(const tree::member& member) const {
  const auto column = member.at.column - 1;
  auto last = member.at.line - 1;
  for (auto line = last + 1; line < lines_.size(); ++line) {
    if (is_blank(lines_[line]))
      continue;
    if (lines_[line].find_first_not_of(' ') <= column)
      break;
    last = line;
  }
  return last + 1;
}

/// By how much members are indented: as those of the first section that shows it.
std::size_t editor::indentation_usual() const {
  for (const auto& section : root_.members)
    if (const auto shown = indentation_in(section))
      return *shown;
  return indentation_default;
}

std::optional<std::size_t> editor::indentation_in(const tree::member& section) {
  if (section.value.members.empty())
    return std::nullopt;
  const auto& first = section.value.members.front().at;
  if (first.line == section.at.line || first.column <= section.at.column)
    return std::nullopt;
  return first.column - section.at.column;
}

/// `publish:` or `publish: {}`: makes room for members.
result<void> editor::empty_section(const tree::member& section) {
  auto& line = lines_[section.at.line - 1];
  const auto colon = line.find(':', section.at.column - 1);
  const auto value = line.find_first_not_of(" \t\r\n", colon + 1);
  if (colon == std::string::npos || value == std::string::npos || line[value] == '#')
    return {};
  for (const std::string_view nothing : {"{}", "{ }", "null", "~"})
    if (line.compare(value, nothing.size(), nothing) == 0) {
      line.erase(colon + 1, value + nothing.size() - colon - 1);
      return {};
    }
  return unsupported("the section `publish` is written in {}");
}

void editor::insert(std::size_t at, const std::string& name, std::size_t outer, std::size_t step,
                    const std::vector<std::string>& content) {
  if (at > 0 && !lines_[at - 1].ends_with('\n'))
    lines_[at - 1] += end_;
  std::vector<std::string> added{std::string(outer, ' ') + name + ":" + end_};
  for (const auto& line : content) {
    const auto blanks = std::min(line.find_first_not_of(' '), line.size());
    const auto depth = blanks / indentation_default + 1;
    added.push_back(std::string(outer + depth * step, ' ') + line.substr(blanks) + end_);
  }
  lines_.insert(lines_.begin() + static_cast<std::ptrdiff_t>(at), added.begin(), added.end());
}

/// Whatever a file may look like: nothing but this section has changed, or it is not edited.
result<std::string> editor::finished(const std::string& name, bool there) const {
  std::string text;
  for (const auto& line : lines_)
    text += line;
  findings problems{"the configuration"};
  const auto made = parse(text, problems);
  const auto* section = made ? made->find(section_name) : nullptr;
  const bool is_there = section != nullptr && section->value.find(name) != nullptr;
  if (!made || !problems.empty() || is_there != there || !is_same(without(root_, name), without(*made, name)))
    return unsupported("the configuration is written in a way that cannot be edited safely");
  return text;
}

result<std::string> editor::add(const std::string& name, const std::vector<std::string>& content) {
  const auto* section = root_.find(section_name);
  const auto root_column = root_.members.front().at.column - 1;
  if (section == nullptr) {
    const auto step = indentation_usual();
    if (!lines_.back().ends_with('\n'))
      lines_.back() += end_;
    lines_.push_back(std::string(root_column, ' ') + std::string{section_name} + ":" + end_);
    insert(lines_.size(), name, root_column + step, step, content);
    return finished(name, true);
  }
  if (section->value.find(name) != nullptr)
    return error{errc::configuration, "publish." + name + " is there already, in line " +
                                        std::to_string(section->value.find(name)->at.line)};
  const auto& members = section->value.members;
  if (members.empty()) {
    if (auto emptied = empty_section(*section); !emptied)
      return emptied.error();
  } else if (is_flow(section->value)) {
    return unsupported("the section `publish` is written in {}");
  }
  const auto outer = indentation_in(*section).value_or(indentation_usual());
  const auto step = members.empty() ? outer : indentation_in(members.front()).value_or(outer);
  insert(after(*section), name, root_column + outer, step, content);
  return finished(name, true);
}

result<std::string> editor::remove(const std::string& name) {
  const auto* section = root_.find(section_name);
  const auto* member = section == nullptr ? nullptr : section->value.find(name);
  if (member == nullptr)
    return error{errc::configuration, "there is no publish." + name + " in the configuration"};
  if (is_flow(section->value))
    return unsupported("the section `publish` is written in {}");
  const auto first = lines_.begin() + static_cast<std::ptrdiff_t>(member->at.line) - 1;
  lines_.erase(first, lines_.begin() + static_cast<std::ptrdiff_t>(after(*member)));
  if (section->value.members.size() == 1) {
    auto& line = lines_[section->at.line - 1];
    line.insert(line.find(':', section->at.column - 1) + 1, " {}");
  }
  return finished(name, false);
}

} // namespace

result<std::string> add_publish(std::string_view text, const std::string& name, const std::vector<std::string>& lines) {
  auto opened = editor::open(text);
  return opened ? opened->add(name, lines) : opened.error();
}

result<std::string> remove_publish(std::string_view text, const std::string& name) {
  auto opened = editor::open(text);
  return opened ? opened->remove(name) : opened.error();
}

} // namespace penstock::config
