// Dead letters in a file: where those go that the database itself refuses, so that they are neither lost nor hold up
// their pipeline.
//
//   file = *line
//   line = crc SP object LF        ; the last line of an id is what holds
//   crc  = 8HEXDIG                 ; CRC-32 (IEEE 802.3) of object
//   object = {"id": ..., "pipeline": ..., "topic_hex": ..., "payload_hex": ..., "code": ..., "reason": ...,
//             "first_seen": ..., "last_seen": ..., "seen": ..., "attempts": ...}   ; times in microseconds since 1970
//          / {"id": ..., "gone": true}                                             ; it was replayed
//
// The file is only ever appended to, and is on the disk when a call returns. A file that has grown to its limit is
// renamed to FILE.1, FILE.2 and so on, and a new one begun. A line that is cut or damaged is skipped.
#pragma once

#include "storage/store.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>

namespace penstock::storage {

class letter_file {
public:
  letter_file(std::filesystem::path file, std::uint64_t bytes_max) : file_(std::move(file)), bytes_max_(bytes_max) {}

  struct content {
    std::map<std::string, dead_letter> letters; ///< by id
    std::uint64_t damaged = 0;                  ///< lines
  };
  /// All that hold, of the rotated files too. Nothing where there is no file.
  result<content> read() const;

  /// database_unavailable or database_full where it cannot be written.
  result<void> put(std::span<const dead_letter> letters);
  result<void> remove(std::span<const std::string> ids);

private:
  result<void> append(const std::string& lines);
  std::filesystem::path rotated(std::size_t number) const;

  std::filesystem::path file_;
  std::uint64_t bytes_max_;
};

} // namespace penstock::storage
