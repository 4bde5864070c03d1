// What logical decoding needs of a PostgreSQL server beside the stream: a publication, which names the table, and a
// replication slot, which keeps the log until the pipeline has read it.
//
// Penstock makes the slot by itself, and drops it on request alone: one that nobody reads keeps the log for ever. The
// publication is made by the table's owner.
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace penstock::storage {

class connection;

struct slot_state {
  std::string name;
  std::uint64_t confirmed = 0; ///< what was committed before this place of the log is not told again
  std::uint64_t lag_bytes = 0; ///< of the log, that the server keeps for it
  std::string keeps;           ///< wal_status: reserved, extended, unreserved, lost
};

/// "penstock_INSTALLATION_PIPELINE_HASH" as PostgreSQL takes it: [a-z0-9_], at most 63. It differs for all pipelines.
std::string slot_name(const std::string& installation, const std::string& pipeline);
std::string publication_name(const std::string& pipeline);

/// What the server, the user and the table lack, all at once, each with what to do: unsupported.
result<void> check_logical(const config::database& database, const config::publish& pipeline);

/// What has the server tell of the table's changes; run it as the table's owner, as often as wanted. A publication that
/// is there stays: a slot cannot read over a time when there was none.
std::string logical_sql(const config::publish& pipeline);
std::string unlogical_sql(const config::publish& pipeline);

/// Makes the slot where it is missing or lost; whether it did. Waits until the transactions that run have ended:
/// timed_out after statement_timeout.
result<bool> make_slot(connection& database, const std::string& name);
/// schema_mismatch where there is none.
result<slot_state> slot_of(connection& database, const std::string& name);
/// Those of Penstock in this database, of all installations: also those that no pipeline reads any more.
result<std::vector<slot_state>> slots_of(connection& database);
/// Whether a slot is of a pipeline of this name, in whichever installation.
bool is_slot_of(const std::string& slot, const std::string& pipeline);
/// Nothing happens where there is none. database_unavailable where somebody reads it.
result<void> drop_slot(connection& database, const std::string& name);

} // namespace penstock::storage
