// MariaDB behind a network with faults, and with TLS: run by tests/databases/faults.py.
#include "fixture.hpp"

#include <arpa/inet.h>
#include <cstdlib>
#include <fstream>
#include <sys/socket.h>
#include <unistd.h>

namespace penstock::storage::test {
namespace {

using testing::AnyOf;
using testing::Eq;
using testing::HasSubstr;

/// Whoever runs the server and the network, at the other end of PENSTOCK_TEST_CONTROL.
class control {
public:
  explicit control(int port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  }
  ~control() { close(socket_); }
  control(const control&) = delete;
  control& operator=(const control&) = delete;

  void order(const std::string& what) {
    const auto line = what + "\n";
    EXPECT_EQ(write(socket_, line.data(), line.size()), static_cast<ssize_t>(line.size()));
    std::string answer;
    char letter = 0;
    while (read(socket_, &letter, 1) == 1 && letter != '\n')
      answer += letter;
    EXPECT_EQ(answer, "done") << what;
  }

private:
  int socket_;
};

class mariadb_faults_test : public testing::Test {
public:
  void SetUp() override {
    const char* const port = std::getenv("PENSTOCK_TEST_CONTROL");
    if (port == nullptr)
      GTEST_SKIP() << "no faulty network here; run by tests/databases/faults.py";
    control_.emplace(std::atoi(port));
    settings_ = database_under_test();
    settings_.connect_timeout = 2s;
    settings_.statement_timeout = 2s;
    hand other{database_at(std::getenv("PENSTOCK_TEST_DATABASE_ADMIN"))};
    for (const char* name : {"readings", "penstock_dead_letters", "penstock_meta"})
      other.run(std::string{"DROP TABLE IF EXISTS "} + name);
  }

  control& faults() { return *control_; }
  std::unique_ptr<store> prepared() const {
    auto made = open(settings_);
    if (!made) {
      ADD_FAILURE() << made.error().to_string();
      return nullptr;
    }
    auto ready = (*made)->prepare(database_test::readings());
    EXPECT_TRUE(ready) << ready.error().to_string();
    return std::move(*made);
  }
  /// Of a write that must fail.
  static error failure(store& to, const record::frame_view& frame) {
    auto written = database_test::write(to, {&frame});
    EXPECT_FALSE(written);
    return written ? error{} : written.error();
  }
  /// The reason why it cannot be opened; nothing: it can.
  static std::optional<error> open_failure(const config::database& at) {
    auto made = open(at);
    return made ? std::nullopt : std::optional{made.error()};
  }
  config::database with(config::tls_mode mode, const char* authority = nullptr) const {
    auto made = settings_;
    made.address.tls_mode = mode;
    if (authority)
      made.tls.ca = std::getenv(authority);
    return made;
  }

protected:
  config::database settings_;

private:
  std::optional<control> control_;
};

TEST_F(mariadb_faults_test, a_network_that_swallows_all_is_noticed_in_time) {
  auto target = prepared();
  database_test::write_one(*target, *database_test::frame_of(database_test::series(0, 10)));
  faults().order("network swallow");
  const auto frame = database_test::frame_of(database_test::series(0, 20));
  auto before = std::chrono::steady_clock::now();
  const auto failed = failure(*target, *frame);
  EXPECT_LT(std::chrono::steady_clock::now() - before, settings_.statement_timeout + 3s);
  EXPECT_THAT(failed.code, AnyOf(Eq(errc::connection_lost), Eq(errc::timed_out))) << failed.message;
  before = std::chrono::steady_clock::now();
  EXPECT_THAT(target->ping().error().code, AnyOf(Eq(errc::connection_lost), Eq(errc::timed_out)));
  EXPECT_LT(std::chrono::steady_clock::now() - before, 1s); // it is known to be lost
  target.reset();
  before = std::chrono::steady_clock::now();
  const auto unopened = open_failure(settings_);
  EXPECT_LT(std::chrono::steady_clock::now() - before, settings_.connect_timeout + 2s);
  ASSERT_TRUE(unopened);
  EXPECT_EQ(unopened->code, errc::timed_out) << unopened->message;
  faults().order("network forward");
  EXPECT_EQ(database_test::write_one(*prepared(), *frame), (frame_outcome{10, 10, 0}));
}

TEST_F(mariadb_faults_test, connections_that_are_cut_are_lost_and_a_new_one_goes_on) {
  auto target = prepared();
  faults().order("cut");
  const auto frame = database_test::frame_of(database_test::series(0, 20));
  EXPECT_EQ(failure(*target, *frame).code, errc::connection_lost);
  EXPECT_EQ(database_test::write_one(*prepared(), *frame), (frame_outcome{20, 0, 0}));
}

TEST_F(mariadb_faults_test, a_server_that_was_killed_has_all_that_was_committed) {
  auto target = prepared();
  database_test::write_one(*target, *database_test::frame_of(database_test::series(0, 1'000)));
  faults().order("kill");
  const auto frame = database_test::frame_of(database_test::series(0, 2'000));
  EXPECT_EQ(failure(*target, *frame).code, errc::connection_lost);
  const auto unopened = open_failure(settings_);
  ASSERT_TRUE(unopened);
  EXPECT_EQ(disposition_of(unopened->code), disposition::retry) << unopened->to_string();
  faults().order("network refuse");
  const auto refused = open_failure(settings_);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->code, errc::connection_refused) << refused->to_string();
  faults().order("network forward");
  faults().order("start");
  EXPECT_EQ(database_test::write_one(*prepared(), *frame), (frame_outcome{1'000, 1'000, 0}));
}

TEST_F(mariadb_faults_test, tls_checks_what_its_mode_says) {
  using config::tls_mode;
  EXPECT_FALSE(open_failure(with(tls_mode::disable)));
  EXPECT_FALSE(open_failure(with(tls_mode::prefer)));
  EXPECT_FALSE(open_failure(with(tls_mode::require)));
  EXPECT_FALSE(open_failure(with(tls_mode::verify_ca, "PENSTOCK_TEST_CA")));
  EXPECT_FALSE(open_failure(with(tls_mode::verify_full, "PENSTOCK_TEST_CA")));
  for (const auto mode : {tls_mode::verify_ca, tls_mode::verify_full})
    for (const char* const authority : {"PENSTOCK_TEST_OTHER_CA", static_cast<const char*>(nullptr)}) {
      const auto refused = open_failure(with(mode, authority));
      ASSERT_TRUE(refused);
      EXPECT_EQ(refused->code, errc::not_authorised) << refused->message;
    }
  // The certificate is for 127.0.0.1 alone.
  auto elsewhere = with(tls_mode::verify_full, "PENSTOCK_TEST_CA");
  elsewhere.address.host = "localhost";
  ASSERT_TRUE(open_failure(elsewhere));
  EXPECT_EQ(open_failure(elsewhere)->code, errc::not_authorised);
  elsewhere.address.tls_mode = tls_mode::verify_ca;
  EXPECT_FALSE(open_failure(elsewhere));
}

TEST_F(mariadb_faults_test, tls_is_used_where_it_is_asked_for) {
  const auto cipher = [&](config::tls_mode mode) {
    auto made = open(with(mode));
    if (!made)
      return made.error().to_string();
    hand admin{database_at(std::getenv("PENSTOCK_TEST_DATABASE_ADMIN"))};
    return admin.ask("SELECT tls.variable_value FROM information_schema.processlist p, information_schema.global_status"
                     " tls WHERE p.user = 'penstock' AND tls.variable_name = 'SSL_FINISHED_ACCEPTS' LIMIT 1");
  };
  const auto count = [&](config::tls_mode mode) { return std::stol(cipher(mode)); };
  const auto first = count(config::tls_mode::disable);
  EXPECT_EQ(count(config::tls_mode::disable), first);
  EXPECT_EQ(count(config::tls_mode::prefer), first + 1);
  EXPECT_EQ(count(config::tls_mode::require), first + 2);
}

} // namespace
} // namespace penstock::storage::test
