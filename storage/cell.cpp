#include "storage/cell.hpp"

namespace penstock::storage {

void append_rfc3339(std::string& to, std::string_view printed) {
  const auto begin = to.size();
  to += printed;
  if (const auto space = to.find(' ', begin); space != std::string::npos)
    to[space] = 'T';
  if (to.ends_with("+00"))
    to.replace(to.size() - 3, 3, "Z");
}

} // namespace penstock::storage
