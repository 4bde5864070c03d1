// What a load found: where each setting stands in the file, and what is wrong.
#pragma once

#include "config/load.hpp"

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::config {

struct mark {
  std::size_t line = 0; ///< from 1
  std::size_t column = 0;
};

/// `name` below `path`: "ingest" + "telemetry" = "ingest.telemetry".
std::string below(const std::string& path, std::string_view name);
std::string below(const std::string& path, std::size_t index);
/// The path of a member whose key may be any text: by its key, or by its number where that cannot stand in a path.
std::string path_of_member(const std::string& path, std::string_view key, std::size_t index);

/// A text from the file, fit for a message: in quotes, cut short, control characters and passwords of URLs masked.
std::string in_quotes(std::string_view text);
/// A key from the file, fit for a path: cut at the first character that no key has, where a value may have slipped in.
std::string fit_for_path(std::string_view key);
/// `mqtt://user:secret@host` becomes `mqtt://***@host`.
std::string without_password(std::string_view text);
/// "; did you mean 'x'?" for the nearest of `names`, or nothing where none is near.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& names);
/// The nearest of `names`, or empty.
std::string nearest(std::string_view word, const std::vector<std::string>& names);
/// "a, b, c", or "none" where there are none.
std::string list_of(const std::vector<std::string>& names);

class findings {
public:
  explicit findings(std::string file) : file_(std::move(file)) {}

  /// Says that `path` stands in the file. `written` is the scalar before variables, so that no value of a variable can
  /// get into a message.
  void place(const std::string& path, mark key, mark value, const std::string& written = {});
  bool given(const std::string& path) const { return places_.contains(path); }
  /// The scalar at `path` as written, fit for a message.
  std::string written(const std::string& path) const;

  /// At the value of `path`, or at the key of the nearest section around it that stands in the file.
  void add(const std::string& path, std::string text);
  void add(mark at, const std::string& path, std::string text);
  /// At the name of the section `path`, not at what stands in it.
  void add_at_key(const std::string& path, std::string text);
  /// Worth a look, and no problem: what it is about stays sound.
  void warn(const std::string& path, std::string text);
  /// Makes `path` unsound without a problem of its own: the reason is reported elsewhere.
  void spoil(const std::string& path) { unsound_.insert(path); }
  /// True if nothing is wrong at `path`, below it or around it: what depends on it can be checked.
  bool sound(const std::string& path) const;

  bool empty() const { return problems_.empty(); }
  /// Ordered by line and column.
  std::vector<problem> take();
  std::vector<problem> take_warnings();

private:
  struct place_in_file {
    mark key;
    mark value;
    std::string written;
  };
  mark place_of(const std::string& path) const;

  std::string file_;
  std::map<std::string, place_in_file> places_;
  std::set<std::string> unsound_;
  std::vector<problem> problems_;
  std::vector<problem> warnings_;
};

} // namespace penstock::config
