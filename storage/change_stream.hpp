// The changes of one table, as PostgreSQL's logical decoding tells of them: from a replication slot of the pipeline's
// own, which keeps the log from the confirmed position on. What was read and is not confirmed comes again over the next
// connection. The table needs no trigger; a publication names it to the server (replication_slot.hpp).
//
// Nothing is read ahead of the caller: a transaction comes piece by piece, and the server waits meanwhile.
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"
#include "storage/changed_row.hpp"
#include "storage/replication_slot.hpp"
#include "storage/store.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace penstock::storage {

/// A place in the server's log, in bytes. It rises, over restarts too. 0: none.
using log_place = std::uint64_t;

/// How far the log goes: `written` is what any query can have seen of it, `flushed` what a crash would leave.
struct log_end {
  log_place written = 0;
  log_place flushed = 0;
};

class change_stream {
public:
  virtual ~change_stream() = default;

  struct event {
    enum class kind : std::uint8_t {
      change,
      commit,  ///< of the changes since the last one
      reached, ///< outside of a transaction: the server has looked through its log up to here
    };
    event::kind what = kind::reached;
    changed_row row;     ///< of a change
    log_place place = 0; ///< of the others: all that was committed before it has been told
  };

  /// The slot was made by this connection: what was changed before is not told.
  virtual bool is_new() const = 0;
  /// What is there already, at most about so much; never waits. Whoever opened the stream is woken when there is more.
  virtual result<std::vector<event>> read(std::size_t rows_max, std::size_t bytes_max) = 0;
  /// All before a place is done with: it need not be told again. To be called again and again, at least every few
  /// seconds: it also tells the server that somebody is there.
  virtual result<void> confirm(log_place place) = 0;
  /// Has the server say how far it has looked: as `reached`.
  virtual result<void> ask() = 0;
  virtual result<log_end> end() = 0;
  virtual result<slot_state> slot() = 0;
};

/// Opens the pipeline's slot, which is made where it is missing or lost. Whoever else reads it is cut off: the caller
/// owns the pipeline's shards. `on_more` runs on a thread of the stream's own, or within `read`. database_unavailable
/// while the slot is in use; as check_logical where the server or the table is not ready.
result<std::unique_ptr<change_stream>> open_changes(const config::database& database, const config::publish& pipeline,
                                                    const std::string& installation, std::function<void()> on_more,
                                                    const connection_board& board = {});

} // namespace penstock::storage
