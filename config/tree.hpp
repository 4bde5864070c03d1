// A parsed document with positions: what the loader reads. YAML, and JSON as the part of YAML that it is.
#pragma once

#include "config/findings.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::config {

/// Longer files are refused before they are parsed.
constexpr std::size_t file_bytes_max = 1u << 20;
/// The deepest configuration needs 6 levels; the parser recurses once a level.
constexpr std::size_t nesting_max = 32;
/// Of one section or list.
constexpr std::size_t members_max = 1'000;

struct tree {
  enum class kind { nothing, scalar, list, map };
  struct member;
  kind what = kind::nothing;
  mark at = {};
  std::string text = {}; ///< scalar: as written, before variables
  bool quoted = false;   ///< scalar: in quotes or as a block, so it is text and not a number
  std::vector<tree> items = {};
  std::vector<member> members; ///< in the order of the file; no key twice

  const member* find(std::string_view key) const;
};

struct tree::member {
  std::string key;
  mark at; ///< of the key
  tree value;
};

/// "a list" and so on, for messages.
std::string_view name_of(tree::kind kind);

/// The document, or nothing where its syntax is wrong. Duplicate keys, anchors, aliases and tags are problems too, but
/// let the rest be read. Never throws.
std::optional<tree> parse(std::string_view text, findings& problems);

} // namespace penstock::config
