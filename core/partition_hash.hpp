// The hash that deals keys to lanes: named, and the same on every machine and in every version.
#pragma once

#include <cstdint>
#include <string_view>

namespace penstock {

/// FNV-1a of 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/), with the finaliser of MurmurHash3 behind it, since
/// the low bits of FNV alone are even for similar texts. Values are added one after the other; each ends itself, so
/// that
/// ("a", "bc") and ("ab", "c") differ.
class partition_hash {
public:
  void add(std::string_view text) {
    for (const char byte : text)
      mix(static_cast<unsigned char>(byte));
    add(static_cast<std::uint64_t>(text.size()));
  }
  void add(std::uint64_t number) {
    for (int byte = 0; byte < 8; ++byte)
      mix(static_cast<unsigned char>(number >> (8 * byte)));
  }

  std::uint64_t value() const {
    auto mixed = state_;
    mixed = (mixed ^ (mixed >> 33)) * 0xff51afd7ed558ccdULL;
    mixed = (mixed ^ (mixed >> 33)) * 0xc4ceb9fe1a85ec53ULL;
    return mixed ^ (mixed >> 33);
  }

private:
  void mix(unsigned char byte) { state_ = (state_ ^ byte) * 0x100000001b3ULL; }
  std::uint64_t state_ = 0xcbf29ce484222325ULL;
};

} // namespace penstock
