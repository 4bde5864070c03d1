// Making a connection to PostgreSQL, and finding out why there is none.
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"

#include <soci/soci.h>

#include <libpq-fe.h>
#include <memory>
#include <string>

namespace penstock::storage::postgresql {

/// What libpq and SOCI take: a postgresql:// url in which everything is a percent-encoded parameter. Holds the
/// password.
std::string connect_text(const config::database& settings, const config::database_address& where);

/// A session that is logged in, within connect_timeout. connection_refused, timed_out, not_authorised (log-in,
/// certificate), schema_mismatch (no such database), database_unavailable (starting, full of connections), unsupported
/// (too old, without TLS, not in UTF-8).
result<std::unique_ptr<soci::session>> connect(const config::database& settings, const config::database_address& where);

struct finish_connection {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
using raw_connection = std::unique_ptr<PGconn, finish_connection>;

/// A connection for the replication protocol, libpq's alone, that prints values whatever the role's settings in the one
/// way that reads back the same everywhere. Errors as `connect`.
result<raw_connection> connect_to_log(const config::database& settings);

} // namespace penstock::storage::postgresql
