// A backend of SOCI over a connection that libmariadb made, for ordinary statements. SOCI's own backend connects by
// itself, and its way knows neither the modes of TLS nor the protocol, and sets CLIENT_FOUND_ROWS, with which rows that
// are there already could not be told from new ones.
//
// It knows what Penstock's statements use: strings and whole numbers, one row at a time. Values are put into the
// statement's text as literals.
#pragma once

#include "storage/mariadb_handle.hpp"

#include <soci/soci.h>

#include <memory>

namespace penstock::storage::mariadb {

/// What the session throws where the server refuses.
class session_failure : public soci::soci_error {
public:
  explicit session_failure(mariadb::fault fault) : soci_error(fault.text), fault_(std::move(fault)) {}
  const mariadb::fault& fault() const { return fault_; }

private:
  mariadb::fault fault_;
};

/// The handle stays the caller's, and must outlive the session.
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
