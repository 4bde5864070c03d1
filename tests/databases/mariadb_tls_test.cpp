// TLS to MariaDB: run by tests/databases/mariadb_tls.py, which makes the certificates.
#include "fixture.hpp"

#include <cstdlib>

namespace penstock::storage::test {
namespace {

using config::tls_mode;

class mariadb_tls_test : public testing::Test {
public:
  void SetUp() override {
    if (std::getenv("PENSTOCK_TEST_CA") == nullptr)
      GTEST_SKIP() << "no server with TLS; run by tests/databases/mariadb_tls.py";
  }

  /// `authority`: the variable that names its file.
  static config::database with(tls_mode mode, const char* authority = nullptr) {
    auto made = database_under_test();
    made.address.tls_mode = mode;
    if (authority)
      made.tls.ca = std::getenv(authority);
    return made;
  }
  /// The reason why it cannot be opened; nothing: it can.
  static std::optional<error> failure(const config::database& at) {
    auto made = open(at);
    return made ? std::nullopt : std::optional{made.error()};
  }
  static long handshakes(const config::database& at) {
    auto made = open(at);
    EXPECT_TRUE(made);
    hand other{database_under_test()};
    return std::stol(other.ask("SELECT variable_value FROM information_schema.global_status WHERE variable_name ="
                               " 'SSL_FINISHED_ACCEPTS'"));
  }
};

TEST_F(mariadb_tls_test, the_certificate_is_checked_as_sslmode_says) {
  EXPECT_FALSE(failure(with(tls_mode::disable)));
  EXPECT_FALSE(failure(with(tls_mode::prefer)));
  EXPECT_FALSE(failure(with(tls_mode::require)));
  EXPECT_FALSE(failure(with(tls_mode::verify_ca, "PENSTOCK_TEST_CA")));
  EXPECT_FALSE(failure(with(tls_mode::verify_full, "PENSTOCK_TEST_CA")));
  for (const auto mode : {tls_mode::verify_ca, tls_mode::verify_full})
    for (const char* const authority : {"PENSTOCK_TEST_OTHER_CA", static_cast<const char*>(nullptr)}) {
      const auto refused = failure(with(mode, authority));
      ASSERT_TRUE(refused);
      EXPECT_EQ(refused->code, errc::not_authorised) << refused->message;
    }
}

TEST_F(mariadb_tls_test, a_host_of_another_name_is_refused_by_verify_full_alone) {
  auto elsewhere = with(tls_mode::verify_full, "PENSTOCK_TEST_CA");
  elsewhere.address.host = "localhost"; // the certificate is for 127.0.0.1
  const auto refused = failure(elsewhere);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->code, errc::not_authorised) << refused->message;
  elsewhere.address.tls_mode = tls_mode::verify_ca;
  EXPECT_FALSE(failure(elsewhere));
}

TEST_F(mariadb_tls_test, tls_is_used_where_it_is_asked_for) {
  const auto before = handshakes(with(tls_mode::disable));
  EXPECT_EQ(handshakes(with(tls_mode::disable)), before);
  EXPECT_EQ(handshakes(with(tls_mode::prefer)), before + 1);
  EXPECT_EQ(handshakes(with(tls_mode::require)), before + 2);
}

} // namespace
} // namespace penstock::storage::test
