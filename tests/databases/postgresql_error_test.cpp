// PostgreSQL: what its errors mean, logging in, and what each transaction sets.
#include "fixture.hpp"
#include "storage/postgresql_handle.hpp"

#include <cctype>
#include <thread>

namespace penstock::storage::test {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;

TEST(sqlstate_test, means_what_the_documentation_says) {
  const std::vector<std::pair<const char*, errc>> meanings{{"08000", errc::connection_lost},
                                                           {"08006", errc::connection_lost},
                                                           {"", errc::connection_lost},
                                                           {"     ", errc::connection_lost},
                                                           {"0A000", errc::unsupported},
                                                           {"21000", errc::row_refused},
                                                           {"22003", errc::row_refused},
                                                           {"22021", errc::row_refused},
                                                           {"22P02", errc::row_refused},
                                                           {"23502", errc::row_refused},
                                                           {"23505", errc::row_refused},
                                                           {"23514", errc::row_refused},
                                                           {"25006", errc::database_unavailable},
                                                           {"25P02", errc::internal},
                                                           {"25P03", errc::timed_out},
                                                           {"28000", errc::not_authorised},
                                                           {"28P01", errc::not_authorised},
                                                           {"3D000", errc::schema_mismatch},
                                                           {"3F000", errc::schema_mismatch},
                                                           {"40001", errc::database_busy},
                                                           {"40P01", errc::database_busy},
                                                           {"42501", errc::not_authorised},
                                                           {"42703", errc::schema_mismatch},
                                                           {"42P01", errc::schema_mismatch},
                                                           {"42P10", errc::schema_mismatch},
                                                           {"53100", errc::database_full},
                                                           {"53200", errc::database_unavailable},
                                                           {"53300", errc::database_unavailable},
                                                           {"54000", errc::row_refused},
                                                           {"54001", errc::internal},
                                                           {"55006", errc::database_unavailable},
                                                           {"55P03", errc::database_busy},
                                                           {"57014", errc::timed_out},
                                                           {"57P01", errc::database_unavailable},
                                                           {"57P02", errc::database_unavailable},
                                                           {"57P03", errc::database_unavailable},
                                                           {"58030", errc::database_unavailable},
                                                           {"P0001", errc::row_refused},
                                                           {"XX000", errc::internal},
                                                           {"XX001", errc::database_damaged},
                                                           {"XX002", errc::database_damaged}};
  for (const auto& [sqlstate, code] : meanings)
    EXPECT_EQ(postgresql::code_of(sqlstate), code) << sqlstate;
}

TEST(failure_text_test, is_one_line_and_not_long) {
  const auto text = postgresql::failure_text(std::string(500, 'w'), "first\nsecond \xe2\x82" + std::string(1'000, 'r'));
  EXPECT_LE(text.size(), 400u);
  EXPECT_THAT(text, AllOf(HasSubstr("first second"), Not(HasSubstr("\n")), HasSubstr("...")));
}

class postgresql_error_test : public database_test {
public:
  void SetUp() override {
    if (kind() != database_kind::postgresql)
      GTEST_SKIP() << "for PostgreSQL";
  }
  /// PgBouncer logs in by itself, and knows one user.
  bool direct() const {
    return std::getenv("PENSTOCK_TEST_DATABASE") == std::string{std::getenv("PENSTOCK_TEST_DATABASE_ADMIN")};
  }

  error cannot_open(const std::function<void(config::database_address&)>& change) const {
    auto wrong = settings();
    change(wrong.address);
    auto made = open(wrong);
    EXPECT_FALSE(made);
    return made ? error{} : made.error();
  }
};

TEST_F(postgresql_error_test, a_wrong_password_is_not_authorised_and_not_shown) {
  const auto failure = cannot_open([](auto& address) { address.password.value = "s3cret!"; });
  EXPECT_EQ(failure.code, errc::not_authorised) << failure.to_string();
  EXPECT_THAT(failure.message,
              AllOf(HasSubstr("database 'under-test'"), Not(HasSubstr("s3cret")), Not(HasSubstr("\n"))));
}

TEST_F(postgresql_error_test, no_password_or_an_unknown_user_is_not_authorised) {
  EXPECT_EQ(cannot_open([](auto& address) { address.password.value = ""; }).code, errc::not_authorised);
  EXPECT_EQ(cannot_open([](auto& address) { address.user = "nobody-knows"; }).code, errc::not_authorised);
}

TEST_F(postgresql_error_test, a_database_that_is_not_there_is_a_schema_mismatch) {
  const auto failure = cannot_open([](auto& address) { address.database = "nowhere"; });
  EXPECT_EQ(failure.code, errc::schema_mismatch);
  EXPECT_THAT(failure.message, HasSubstr("nowhere"));
}

TEST_F(postgresql_error_test, a_port_nobody_listens_at_or_a_host_nobody_knows_is_refused) {
  EXPECT_EQ(cannot_open([](auto& address) { address.port = 1; }).code, errc::connection_refused);
  EXPECT_EQ(cannot_open([](auto& address) { address.host = "/nowhere"; }).code, errc::connection_refused);
  EXPECT_EQ(cannot_open([](auto& address) { address.host = "no-such-host.invalid"; }).code, errc::connection_refused);
}

TEST_F(postgresql_error_test, tls_that_is_needed_and_not_there_is_unsupported) {
  for (const auto mode : {config::tls_mode::require, config::tls_mode::verify_full}) {
    const auto failure = cannot_open([&](auto& address) { address.tls_mode = mode; });
    EXPECT_THAT(failure.code, AnyOf(errc::unsupported, errc::not_authorised)) << failure.to_string();
    EXPECT_EQ(disposition_of(failure.code), disposition::fatal);
  }
}

TEST_F(postgresql_error_test, tls_is_used_and_the_certificate_checked_as_sslmode_says) {
  if (!direct())
    GTEST_SKIP() << "PgBouncer's TLS is its own";
  // The server makes its certificate itself, where it may read it.
  other().run(
    "COPY (SELECT 1) TO PROGRAM 'openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext"
    " subjectAltName=IP:127.0.0.1 -out server.crt -keyout server.key 2> /dev/null'");
  other().run("ALTER SYSTEM SET ssl = on");
  other().run("SELECT pg_reload_conf()");
  auto secure = settings();
  const auto open_with = [&](config::tls_mode mode, const std::filesystem::path& ca) {
    secure.address.tls_mode = mode;
    secure.tls.ca = ca;
    return open(secure);
  };
  for (int times = 0; times < 100 && !open_with(config::tls_mode::require, ""); ++times)
    std::this_thread::sleep_for(20ms);
  const std::filesystem::path certificate = other().ask("SHOW data_directory") + "/server.crt";
  EXPECT_TRUE(open_with(config::tls_mode::require, ""));
  for (const auto mode : {config::tls_mode::verify_ca, config::tls_mode::verify_full}) {
    auto verified = open_with(mode, certificate);
    ASSERT_TRUE(verified) << verified.error().to_string();
    ASSERT_TRUE((*verified)->prepare(readings()));
    EXPECT_EQ(write_one(**verified, *frame_of(series(0, 2'500))).dead_lettered, 0u);
    const auto unknown = open_with(mode, "");
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().code, errc::not_authorised) << unknown.error().to_string();
  }
  secure.address.host = "localhost"; // another name than the certificate's
  EXPECT_TRUE(open_with(config::tls_mode::verify_ca, certificate));
  EXPECT_EQ(open_with(config::tls_mode::verify_full, certificate).error().code, errc::not_authorised);
  other().run("ALTER SYSTEM RESET ssl");
  other().run("SELECT pg_reload_conf()");
}

TEST_F(postgresql_error_test, a_database_in_another_encoding_is_unsupported) {
  other().run("CREATE DATABASE old_text ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
  const auto failure = cannot_open([](auto& address) { address.database = "old_text"; });
  EXPECT_EQ(failure.code, errc::unsupported) << failure.to_string();
  EXPECT_THAT(failure.message, AllOf(HasSubstr("LATIN1"), HasSubstr("ENCODING 'UTF8'")));
  other().run("DROP DATABASE old_text WITH (FORCE)");
}

TEST_F(postgresql_error_test, roles_full_of_connections_forbidden_or_with_odd_passwords) {
  if (!direct())
    GTEST_SKIP() << "PgBouncer logs in by itself";
  other().run("DROP ROLE IF EXISTS odd; CREATE ROLE odd LOGIN PASSWORD E' it''s \"%=&?/@:\\\\ \xc3\xa4'");
  auto odd = settings();
  odd.address.user = "odd";
  odd.address.password.value = " it's \"%=&?/@:\\ \xc3\xa4";
  {
    auto target = opened(odd);
    ASSERT_TRUE(target && target->ping());
    auto ready = target->prepare(readings()); // PostgreSQL 15 lets no stranger create tables in "public"
    ASSERT_FALSE(ready);
    EXPECT_EQ(ready.error().code, errc::not_authorised) << ready.error().to_string();
  }
  other().run("ALTER ROLE odd CONNECTION LIMIT 0");
  EXPECT_EQ(open(odd).error().code, errc::database_unavailable) << open(odd).error().to_string();
  other().run("ALTER ROLE odd NOLOGIN");
  EXPECT_EQ(open(odd).error().code, errc::not_authorised);
  other().run("DROP ROLE odd");
}

TEST_F(postgresql_error_test, who_may_not_create_tables_may_use_those_that_are_there) {
  if (!direct())
    GTEST_SKIP() << "PgBouncer logs in by itself";
  prepared();
  other().run("DROP ROLE IF EXISTS clerk; CREATE ROLE clerk LOGIN PASSWORD 'clerk'");
  other().run("GRANT SELECT, INSERT, UPDATE, DELETE ON readings, penstock_meta, penstock_sessions, "
              "penstock_dead_letters TO clerk");
  auto clerk = settings();
  clerk.address.user = clerk.address.password.value = "clerk";
  auto target = opened(clerk);
  auto ready = target->prepare(readings());
  ASSERT_TRUE(ready) << ready.error().to_string();
  EXPECT_TRUE(target->installation_id());
  auto rows = series(0, 5);
  rows[2].device = std::string{"\0", 1};
  EXPECT_EQ(write_one(*target, *frame_of(rows)), (frame_outcome{4, 0, 1}));
  other().run("REVOKE INSERT ON readings FROM clerk");
  const auto frame = frame_of(rows);
  auto failed = write(*target, {frame.get()});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, errc::not_authorised) << failed.error().to_string();
  target.reset();
  other().run("DROP OWNED BY clerk; DROP ROLE clerk");
}

TEST_F(postgresql_error_test, making_an_index_may_take_longer_than_other_statements) {
  other().run("CREATE FUNCTION nap() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3); END';"
              "CREATE EVENT TRIGGER napping ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION nap()");
  auto hasty = settings();
  hasty.busy_timeout = 500ms;
  hasty.statement_timeout = 1s;
  auto wanted = readings();
  wanted.indexes = {{{"battery", false}}};
  auto ready = opened(hasty)->prepare(wanted);
  EXPECT_TRUE(ready) << ready.error().to_string();
  other().run("DROP EVENT TRIGGER napping; DROP FUNCTION nap");
}

TEST_F(postgresql_error_test, a_store_that_only_reads_goes_to_the_replica) {
  auto with_replica = settings();
  with_replica.read_address = settings().address;
  with_replica.read_address->port = 1;
  EXPECT_TRUE(open(with_replica));
  EXPECT_EQ(open(with_replica, access::read_only).error().code, errc::connection_refused);
}

TEST_F(postgresql_error_test, a_read_only_server_is_unavailable) {
  prepared();
  other().run("ALTER DATABASE penstock SET default_transaction_read_only = on");
  if (direct()) {
    auto ready = opened()->prepare(readings());
    ASSERT_FALSE(ready);
    EXPECT_EQ(ready.error().code, errc::database_unavailable) << ready.error().to_string();
  }
  other().run("BEGIN; SET TRANSACTION READ WRITE; ALTER DATABASE penstock RESET default_transaction_read_only; COMMIT");
}

TEST_F(postgresql_error_test, an_error_tells_no_values_and_names_the_constraint) {
  prepared();
  other().refuse_negative_batteries();
  auto target = prepared();
  write_one(*target, *frame_of({{.time = 1, .device = "the-secret-device", .battery = -1}}));
  const auto refused = letters(*target);
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_THAT(refused[0].reason, AllOf(HasSubstr("\"sound\""), HasSubstr("23514"), Not(HasSubstr("secret"))));
}

TEST_F(postgresql_error_test, a_statement_that_takes_too_long_is_timed_out_by_the_server_and_the_store_goes_on) {
  prepared();
  other().run("CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(20); RETURN new;"
              " END'; CREATE TRIGGER slow BEFORE INSERT ON readings FOR EACH ROW EXECUTE FUNCTION dawdle()");
  auto hasty = settings();
  hasty.busy_timeout = 500ms;
  hasty.statement_timeout = 1s;
  auto target = opened(hasty);
  ASSERT_TRUE(target->prepare(readings()));
  const auto frame = frame_of(series(0, 1));
  auto failed = write(*target, {frame.get()});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, errc::timed_out) << failed.error().to_string();
  EXPECT_THAT(failed.error().message, HasSubstr("57014"));
  EXPECT_TRUE(target->ping());
  other().run("DROP TABLE readings; DROP FUNCTION dawdle");
}

TEST_F(postgresql_error_test, a_connection_that_the_server_ends_says_so) {
  auto target = prepared();
  other().ask("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
              " AND backend_type = 'client backend'");
  const auto frame = frame_of(series(0, 1));
  for (int times = 0; times < 2; ++times) { // a PgBouncer may notice it before us
    auto failed = write(*target, {frame.get()});
    const auto code = failed ? errc::none : failed.error().code;
    EXPECT_THAT(code, AnyOf(errc::none, errc::database_unavailable, errc::connection_lost));
  }
  EXPECT_EQ(write_one(*prepared(), *frame).dead_lettered, 0u);
}

TEST_F(postgresql_error_test, a_constraint_that_was_deferred_meanwhile_stops_the_pipeline_instead_of_refusing_rows) {
  auto target = prepared();
  other().run("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''too late''; END';"
              "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON readings DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
              " EXECUTE FUNCTION refuse()");
  const auto frame = frame_of(series(0, 1));
  auto failed = write(*target, {frame.get()});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, errc::schema_mismatch) << failed.error().to_string();
  EXPECT_THAT(failed.error().message, HasSubstr("too late"));
  EXPECT_EQ(opened()->prepare(readings()).error().code, errc::schema_mismatch);
  other().run("DROP TABLE readings; DROP FUNCTION refuse");
}

TEST_F(postgresql_error_test, settings_are_the_transactions_own) {
  prepared();
  other().run("CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN new.note = concat_ws('' '',"
              " current_setting(''synchronous_commit''), current_setting(''statement_timeout''),"
              " current_setting(''lock_timeout''), current_setting(''idle_in_transaction_session_timeout''),"
              " current_setting(''application_name'')); RETURN new; END';"
              "CREATE TRIGGER telling BEFORE INSERT ON readings FOR EACH ROW EXECUTE FUNCTION tell()");
  std::int64_t time = 0;
  for (const auto& [choice, word] :
       std::vector<std::pair<config::synchronous, std::string>>{{config::synchronous::full, "on"},
                                                                {config::synchronous::normal, "local"},
                                                                {config::synchronous::off, "off"}}) {
    auto chosen = settings();
    chosen.synchronous = choice;
    auto target = opened(chosen);
    ASSERT_TRUE(target->prepare(readings()));
    write_one(*target, *frame_of({{.time = ++time}}));
    EXPECT_EQ(other().ask("SELECT note FROM readings ORDER BY time DESC LIMIT 1"), word + " 10s 2s 3s penstock");
  }
  EXPECT_EQ(other().ask("SELECT current_setting('statement_timeout') || current_setting('synchronous_commit')"), "0on");
  other().run("DROP TABLE readings; DROP FUNCTION tell");
}

} // namespace
} // namespace penstock::storage::test
