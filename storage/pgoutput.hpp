// What PostgreSQL's plugin pgoutput says of changes (protocol version 1), taken apart: bytes in, changes out.
//
//   Begin     'B' int64 commit's place, int64 time, int32 transaction
//   Commit    'C' int8, int64 commit's place, int64 end, int64 time
//   Relation  'R' int32 id, text schema, text name, int8 identity, int16 columns of (int8 flags, text name, int32 type,
//             int32 modifier); before the first change of a table, and again when the table was altered
//   Insert    'I' int32 id, 'N' tuple
//   Update    'U' int32 id, ['K' or 'O' tuple], 'N' tuple: the old row comes where its identity changed ('K'), or
//             always ('O', REPLICA IDENTITY FULL)
//   others    passed over
//
//   tuple     int16 columns of ('n' null | 'u' unchanged and large: not sent | 't' int32 length, text)
//   text      bytes up to a zero; all numbers are big-endian; times are microseconds since 2000
#pragma once

#include "core/result.hpp"
#include "core/types.hpp"
#include "storage/changed_row.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace penstock::storage::postgresql {

class pgoutput {
public:
  /// Changes of this table alone, TABLE or SCHEMA.TABLE; `key`: the columns that tell its rows apart.
  pgoutput(const std::string& table, std::vector<std::string> key);

  struct event {
    enum class kind : std::uint8_t { change, commit };
    event::kind what = kind::commit;
    changed_row row;       ///< of a change
    std::uint64_t end = 0; ///< of a commit: everything before this place of the log has been said
  };
  /// One message, that stands at `at` in the log; nothing where it says nothing of the table. protocol_violation where
  /// it cannot be read, schema_mismatch where the key's columns are not in it.
  result<std::optional<event>> read(std::string_view message, std::uint64_t at);

private:
  struct column {
    std::string name;
    bool json = false;
  };
  struct relation {
    bool wanted = false;
    std::vector<column> columns;
    std::vector<std::size_t> key; ///< by the pipeline's order
  };
  struct value {
    char kind = 'n';
    std::string_view text;
  };
  class bytes;
  using tuple = std::vector<value>;

  result<void> read_relation(bytes& from);
  static tuple read_tuple(bytes& from);
  result<std::optional<event>> read_change(bytes& from, bool update, std::uint64_t at);
  changed_row row_of(const relation& of, const tuple& now, const tuple& before) const;

  std::string schema_; ///< empty: any
  std::string name_;
  std::vector<std::string> key_;
  std::map<std::uint32_t, relation> relations_; ///< by id
  wall_time committed_at_;
};

} // namespace penstock::storage::postgresql
