#include "config/findings.hpp"

#include <algorithm>
#include <cctype>

namespace penstock::config {

namespace {

constexpr std::size_t quoted_bytes_max = 80;
constexpr std::size_t problems_max = 200;

/// The path around `path`; empty for a top-level one.
std::string around(const std::string& path) {
  const auto end = path.find_last_of(".[");
  return end == std::string::npos ? std::string{} : path.substr(0, end);
}

/// Optimal string alignment: inserted, missing, wrong and swapped letters count one each.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      const std::size_t wrong = a[i - 1] == b[j - 1] ? 0 : 1;
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + wrong});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

void sort(std::vector<problem>& problems) {
  std::stable_sort(problems.begin(), problems.end(), [](const problem& a, const problem& b) {
    return std::pair{a.line, a.column} < std::pair{b.line, b.column};
  });
}

} // namespace

std::string below(const std::string& path, std::string_view name) {
  return path.empty() ? std::string{name} : path + "." + std::string{name};
}

std::string below(const std::string& path, std::size_t index) { return path + "[" + std::to_string(index) + "]"; }

std::string path_of_member(const std::string& path, std::string_view key, std::size_t index) {
  const std::string fit = fit_for_path(key);
  return fit == key && !fit.empty() ? below(path, fit) : below(path, index);
}

std::string without_password(std::string_view text) {
  const auto scheme = text.find("://");
  if (scheme == std::string_view::npos)
    return std::string{text};
  // The last @ of the whole text: a password may hold a slash that should have been escaped.
  const auto end = text.rfind('@');
  if (end == std::string_view::npos || end < scheme)
    return std::string{text};
  return std::string{text.substr(0, scheme + 3)} + "***" + std::string{text.substr(end)};
}

std::string in_quotes(std::string_view text) {
  std::string safe = without_password(text);
  const bool cut = safe.size() > quoted_bytes_max;
  if (cut) {
    std::size_t end = quoted_bytes_max;
    while (end > 0 && (static_cast<unsigned char>(safe[end]) & 0xC0u) == 0x80u)
      --end;
    safe.resize(end);
  }
  for (char& c : safe)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      c = '?';
  return "'" + safe + (cut ? "..." : "") + "'";
}

std::string fit_for_path(std::string_view key) {
  const auto end = std::find_if_not(key.begin(), key.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.';
  });
  const auto length = std::min<std::size_t>(static_cast<std::size_t>(end - key.begin()), 64);
  return std::string{key.substr(0, length)} + (length < key.size() ? "..." : "");
}

std::string nearest(std::string_view word, const std::vector<std::string>& names) {
  if (word.size() > 64)
    return {};
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const std::string& name : names) {
    const std::size_t distance = edit_distance(word, name);
    if (distance < best_distance) {
      best_distance = distance;
      best = name;
    }
  }
  return best;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& names) {
  const std::string name = nearest(word, names);
  return name.empty() ? std::string{} : "; did you mean '" + name + "'?";
}

std::string list_of(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names)
    text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "none" : text;
}

void findings::place(const std::string& path, mark key, mark value, const std::string& written) {
  places_[path] = {key, value, written};
}

std::string findings::written(const std::string& path) const {
  const auto found = places_.find(path);
  return in_quotes(found == places_.end() ? std::string{} : found->second.written);
}

mark findings::place_of(const std::string& path) const {
  if (const auto found = places_.find(path); found != places_.end())
    return found->second.value;
  std::string parent = around(path);
  while (!parent.empty() && !places_.contains(parent))
    parent = around(parent);
  const auto found = places_.find(parent);
  return found == places_.end() ? mark{1, 1} : found->second.key;
}

void findings::add(const std::string& path, std::string text) { add(place_of(path), path, std::move(text)); }

void findings::add_at_key(const std::string& path, std::string text) {
  const auto found = places_.find(path);
  add(found == places_.end() ? place_of(path) : found->second.key, path, std::move(text));
}

void findings::warn(const std::string& path, std::string text) {
  const mark at = place_of(path);
  warnings_.push_back({file_, at.line, at.column, path, std::move(text)});
}

void findings::add(mark at, const std::string& path, std::string text) {
  unsound_.insert(path);
  problems_.push_back({file_, at.line, at.column, path, std::move(text)});
}

bool findings::sound(const std::string& path) const {
  for (std::string parent = path; !parent.empty(); parent = around(parent))
    if (unsound_.contains(parent))
      return false;
  const auto starts_below = [&](char separator) {
    const auto next = unsound_.lower_bound(path + separator);
    return next != unsound_.end() && next->compare(0, path.size() + 1, path + separator) == 0;
  };
  return !starts_below('.') && !starts_below('[');
}

std::vector<problem> findings::take() {
  sort(problems_);
  if (problems_.size() > problems_max) {
    const auto more = problems_.size() - problems_max;
    problems_.resize(problems_max);
    const auto& last = problems_.back();
    problems_.push_back({file_, last.line, last.column, "", "and " + std::to_string(more) + " more problems"});
  }
  return std::move(problems_);
}

std::vector<problem> findings::take_warnings() {
  sort(warnings_);
  return std::move(warnings_);
}

} // namespace penstock::config
