#include "nodes/fingerprint.hpp"

namespace penstock::nodes {

namespace {

std::uint64_t mixed(std::uint64_t value) {
  value = (value ^ (value >> 33)) * 0xff51afd7ed558ccdu;
  value = (value ^ (value >> 33)) * 0xc4ceb9fe1a85ec53u;
  return value ^ (value >> 33);
}

} // namespace

// Two runs of FNV-1a with different bases.
fingerprint fingerprint_of(const std::vector<std::string>& values) {
  fingerprint out{0xcbf29ce484222325u, 0x9ae16a3b2f90404fu};
  const auto add = [&](unsigned char byte) {
    out.high = (out.high ^ byte) * 0x100000001b3u;
    out.low = (out.low ^ byte) * 0x9e3779b97f4a7c15u;
    out.low ^= out.low >> 29;
  };
  for (const std::string& value : values) {
    for (const char c : value)
      add(static_cast<unsigned char>(c));
    for (std::size_t length = value.size() + 1; length > 0; length >>= 8)
      add(static_cast<unsigned char>(length));
  }
  return {mixed(out.high), mixed(out.low)};
}

} // namespace penstock::nodes
