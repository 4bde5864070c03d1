#include "storage/key_text.hpp"

namespace penstock::storage {

namespace {

template <class Number>
bool is_number(const std::string& text) {
  Number value{};
  const auto* const end = text.data() + text.size();
  const auto [at, failed] = std::from_chars(text.data(), end, value);
  return failed == std::errc{} && at == end;
}

} // namespace

bool is_key_text(const std::string& text, column_type type) {
  switch (type) {
  case column_type::integer:
  case column_type::timestamp:
  case column_type::boolean: return is_number<std::int64_t>(text);
  case column_type::real: return is_number<double>(text);
  case column_type::text:
  case column_type::json:
  case column_type::bytes: return true;
  }
  return false;
}

} // namespace penstock::storage
