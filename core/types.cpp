#include "core/types.hpp"

#include <array>
#include <utility>

namespace penstock {

namespace {
constexpr std::array names{
  std::pair{column_type::text, std::string_view{"text"}},
  std::pair{column_type::integer, std::string_view{"integer"}},
  std::pair{column_type::real, std::string_view{"real"}},
  std::pair{column_type::boolean, std::string_view{"boolean"}},
  std::pair{column_type::timestamp, std::string_view{"timestamp"}},
  std::pair{column_type::bytes, std::string_view{"bytes"}},
  std::pair{column_type::json, std::string_view{"json"}},
};
} // namespace

std::string_view name_of(column_type type) noexcept {
  for (const auto& [value, name] : names)
    if (value == type)
      return name;
  return "unknown";
}

std::optional<column_type> column_type_from(std::string_view text) noexcept {
  for (const auto& [value, name] : names)
    if (name == text)
      return value;
  return std::nullopt;
}

} // namespace penstock
