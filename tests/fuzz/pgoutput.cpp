// Any bytes in place of what PostgreSQL's pgoutput says, message by message: each is an error, nothing, or a change
// whose values are a JSON object. A message begins with a byte that says how long it is.
#include "storage/pgoutput.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace penstock::storage;
  std::string_view left{reinterpret_cast<const char*>(data), size};
  postgresql::pgoutput reader{"s.t", {"id"}};
  while (!left.empty()) {
    const auto length = static_cast<std::size_t>(static_cast<unsigned char>(left.front()));
    left.remove_prefix(1);
    const auto said = reader.read(left.substr(0, length), size);
    left.remove_prefix(std::min(length, left.size()));
    if (said && *said && (*said)->what == postgresql::pgoutput::event::kind::change) {
      const auto& row = (*said)->row;
      if (row.key.size() != 1 || !row.values.starts_with('{') || !row.values.ends_with('}'))
        std::abort();
    }
  }
  return 0;
}
