// Making a connection to PostgreSQL, and finding out why there is none.
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"

#include <soci/soci.h>

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

} // namespace penstock::storage::postgresql
