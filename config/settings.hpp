// What a setting is. Every setting is declared once, in settings.cpp; the loader, `show`, the difference between two
// configurations, the reference table and the check for unknown keys all walk these declarations.
//
// A new setting is one line in the `describe` of its section, a new section one such function. The default is the one
// that the struct's member has.
#pragma once

#include "config/config.hpp"

#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace penstock::config {

struct setting;
using section = std::vector<setting>;

/// A number of any width; a count, a size in bytes or a duration in milliseconds.
struct number {
  enum class unit { count, bytes, duration };
  template <std::unsigned_integral T>
  number(T* value, unit u = unit::count)
    : what(u), max(std::numeric_limits<T>::max()), get([value] { return *value; }),
      set([value](std::uint64_t n) { *value = static_cast<T>(n); }) {}
  number(milliseconds* value)
    : what(unit::duration), max(std::numeric_limits<std::int64_t>::max()),
      get([value] { return static_cast<std::uint64_t>(value->count()); }),
      set([value](std::uint64_t n) { *value = milliseconds{static_cast<std::int64_t>(n)}; }) {}

  unit what;
  bool zero_is_never = false; ///< of a duration: 0 is written `never`, and is outside the bounds
  std::uint64_t max;
  std::function<std::uint64_t()> get;
  std::function<void(std::uint64_t)> set;
};

/// A single value with a form of its own.
struct word {
  std::string kind;                                   ///< for the reference: "`HOST:PORT` or `off`"
  std::function<std::string(const std::string&)> set; ///< "must be ..." where the text is wrong, else empty
  std::function<std::optional<std::string>()> get;    ///< nothing: not set
};

/// A section that need not be there.
struct optional_section {
  std::function<section()> make; ///< makes it with its defaults
  std::function<section()> get;  ///< the one that is there
  std::function<bool()> has;
};

/// Any number of sections, each under a name that the user gives.
struct named_sections {
  std::function<section(const std::string& name)> add; ///< valid until the next add
  std::function<std::vector<std::pair<std::string, section>>()> all;
  bool column_names = false; ///< names are columns of a table, not names of Penstock's own
};

/// Any number of sections in a list.
struct listed_sections {
  std::function<section()> add; ///< valid until the next add
  std::function<std::vector<section>()> all;
};

/// Texts, each under a name that the user gives: any but the empty one. Their order counts.
struct named_texts {
  std::string kind; ///< for the reference
  /// "must be ..." where the text is wrong, else empty
  std::function<std::string(const std::string& name, const std::string& text)> add;
  std::function<std::vector<std::pair<std::string, std::string>>()> all;
};

/// A list that may be written without brackets where it has one member.
struct one_or_more {
  std::vector<std::string>* value;
};

/// A list of words, each of which stands for a value and stands there once.
struct word_list {
  std::string kind; ///< for the reference
  std::function<void()> clear;
  std::function<std::string(const std::string& word)> add; ///< "must be ..." where the word is wrong, else empty
  std::function<std::vector<std::string>()> all;
};

using index_lists = std::vector<std::vector<index_column>>;

using field =
  std::variant<std::string*, bool*, number, secret*, std::filesystem::path*, std::vector<std::string>*, one_or_more,
               index_lists*, word, word_list, named_texts, section, optional_section, named_sections, listed_sections>;

struct setting {
  setting(std::string_view setting_name, field to, std::string_view text)
    : name(setting_name), value(std::move(to)), doc(text) {}

  setting required() &&;
  /// `reason` says why what lies outside cannot be; most bounds need none.
  setting between(std::uint64_t low, std::uint64_t high, std::string_view reason = {}) &&;
  setting between(milliseconds low, milliseconds high) &&;

  std::string name;
  field value;
  std::string doc; ///< one line
  bool is_required = false;
  std::uint64_t min = 0; ///< of a number, in its unit
  std::uint64_t max = std::numeric_limits<std::uint64_t>::max();
  std::string bounds_reason;
};

/// Every setting, bound to `configuration`, which must outlive what is returned. Of one that is loaded, those that go
/// together: `node`, or `cluster` and `nodes`.
section describe(configuration& configuration);

/// The text of a number in its unit, as the file would have it.
std::string to_text(const number& number, std::uint64_t value);

} // namespace penstock::config
