// A SOCI session over a connection that libmariadb made. SOCI's own way to connect knows neither the modes of TLS nor
// the protocol, and sets CLIENT_FOUND_ROWS, with which rows that are there already could not be told from new ones.
#pragma once

#include <soci/soci.h>

#include <memory>
#include <mysql.h>

namespace penstock::storage::mariadb {

/// For ordinary statements. The handle stays the caller's, and must outlive the session.
class session {
public:
  explicit session(MYSQL* handle);
  ~session();
  soci::session& get();

private:
  struct parts;
  std::unique_ptr<parts> parts_;
};

} // namespace penstock::storage::mariadb
