// From a tree to the settings: types, bounds, required and unknown keys. What settings mean together is in check.hpp.
#pragma once

#include "config/findings.hpp"
#include "config/settings.hpp"
#include "config/tree.hpp"
#include "config/value.hpp"

#include <filesystem>
#include <optional>
#include <string>

namespace penstock::config {

class reader {
public:
  /// Relative paths are made absolute from `folder`.
  reader(findings& problems, const variable_lookup& variables, std::filesystem::path folder)
    : problems_(problems), variables_(variables), folder_(std::move(folder)) {}

  /// Reads all of `from` into `settings`; `path` is empty for the whole document.
  void read(const section& settings, const tree& from, const std::string& path);

private:
  struct input {
    const setting& declared;
    const tree& value;
    const std::string& path;
  };

  void read_unknown(const section& settings, const tree& from, const std::string& path);
  bool is_map(const tree& value, const std::string& path);

  void take(std::string* to, const input& in);
  void take(bool* to, const input& in);
  void take(const number& to, const input& in);
  void take(secret* to, const input& in);
  void take(std::filesystem::path* to, const input& in);
  void take(std::vector<std::string>* to, const input& in);
  void take(const one_or_more& to, const input& in);
  void take(index_lists* to, const input& in);
  void take(const word& to, const input& in);
  void take(const word_list& to, const input& in);
  void take(const named_texts& to, const input& in);
  void take(const section& to, const input& in);
  void take(const optional_section& to, const input& in);
  void take(const named_sections& to, const input& in);
  void take(const listed_sections& to, const input& in);

  /// The scalar with its variables put in; a problem and nothing where it is none. `expected`: "text".
  std::optional<std::string> scalar(const tree& value, const std::string& path, std::string_view expected);
  bool is_list(const tree& value, const std::string& path, std::string_view expected);
  /// A scalar that stands for a number or a truth, not for text.
  bool plain(const tree& value, const std::string& path, std::string_view expected);

  findings& problems_;
  const variable_lookup& variables_;
  std::filesystem::path folder_;
};

} // namespace penstock::config
