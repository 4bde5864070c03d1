#include "nodes/text_difference.hpp"

#include <algorithm>
#include <vector>

namespace penstock::nodes {

namespace {

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size() - 1);
    lines.push_back(text.substr(0, end + 1));
    text.remove_prefix(end + 1);
  }
  return lines;
}

/// "first,count"; where there is nothing, the line before it.
std::string range(std::size_t first, std::size_t count) {
  return std::to_string(count == 0 ? first : first + 1) + (count == 1 ? "" : "," + std::to_string(count));
}

void print(std::string& out, char sign, std::string_view line) {
  out += sign;
  out += line;
  if (!line.ends_with('\n'))
    out += "\n\\ No newline at end of file\n";
}

} // namespace

std::string difference(const std::string& file, std::string_view before, std::string_view after) {
  const auto was = lines_of(before);
  const auto is = lines_of(after);
  const auto shorter = std::min(was.size(), is.size());
  std::size_t head = 0;
  while (head < shorter && was[head] == is[head])
    ++head;
  std::size_t tail = 0;
  while (tail < shorter - head && was[was.size() - 1 - tail] == is[is.size() - 1 - tail])
    ++tail;
  if (before == after)
    return {};
  const auto removed = was.size() - head - tail;
  const auto added = is.size() - head - tail;
  std::string out =
    "--- " + file + "\n+++ " + file + "\n@@ -" + range(head, removed) + " +" + range(head, added) + " @@\n";
  for (std::size_t line = head; line < head + removed; ++line)
    print(out, '-', was[line]);
  for (std::size_t line = head; line < head + added; ++line)
    print(out, '+', is[line]);
  return out;
}

} // namespace penstock::nodes
