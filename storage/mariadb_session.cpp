#include "storage/mariadb_session.hpp"

#include <soci/mysql/soci-mysql.h>

#include <cstddef>
#include <new>
#include <string>

namespace penstock::storage::mariadb {

namespace {

/// SOCI's statements want a reference to its session backend, whose only constructor connects; all that they ever look
/// at is the handle in it. So they get the place of one with nothing but the handle.
class handle_place {
public:
  explicit handle_place(MYSQL* handle) { get().conn_ = handle; }
  soci::mysql_session_backend& get() { return *std::launder(reinterpret_cast<soci::mysql_session_backend*>(bytes_)); }

private:
  static_assert(sizeof(soci::mysql_session_backend) == sizeof(soci::details::session_backend) + sizeof(MYSQL*),
                "SOCI's session of MySQL is the handle and nothing else");
  alignas(soci::mysql_session_backend) std::byte bytes_[sizeof(soci::mysql_session_backend)]{};
};

class borrowed_session final : public soci::details::session_backend {
public:
  explicit borrowed_session(MYSQL* handle) : handle_(handle), place_(handle) {}

  bool is_connected() override { return mysql_ping(handle_) == 0; }
  void begin() override { run("START TRANSACTION"); }
  void commit() override { run("COMMIT"); }
  void rollback() override { run("ROLLBACK"); }
  std::string get_dummy_from_table() const override { return {}; }
  std::string get_backend_name() const override { return "mysql"; }
  soci::mysql_statement_backend* make_statement_backend() override {
    return std::make_unique<soci::mysql_statement_backend>(place_.get()).release();
  }
  soci::details::rowid_backend* make_rowid_backend() override { throw soci::soci_error("there are no row ids"); }
  soci::details::blob_backend* make_blob_backend() override { throw soci::soci_error("BLOBs are bound as text"); }

private:
  void run(const char* sql) {
    if (mysql_query(handle_, sql) != 0)
      throw soci::mysql_soci_error(mysql_error(handle_), static_cast<int>(mysql_errno(handle_)));
  }
  MYSQL* handle_;
  handle_place place_;
};

/// SOCI makes sessions through factories, and remembers them.
class factory final : public soci::backend_factory {
public:
  explicit factory(MYSQL* handle) : handle_(handle) {}
  soci::details::session_backend* make_session(const soci::connection_parameters&) const override {
    return std::make_unique<borrowed_session>(handle_).release();
  }

private:
  MYSQL* handle_;
};

} // namespace

struct session::parts {
  explicit parts(MYSQL* handle) : sessions(handle), session(sessions, "") {}
  factory sessions;
  soci::session session;
};

session::session(MYSQL* handle) : parts_(std::make_unique<parts>(handle)) {}

session::~session() = default;

soci::session& session::get() { return parts_->session; }

} // namespace penstock::storage::mariadb
