#include "security/tls_context.hpp"
#include "tests/support/temporary_directory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

namespace penstock::security {
namespace {

using testing::HasSubstr;

class tls_context_test : public testing::Test {
protected:
  /// A certificate signed by itself: its own CA.
  void make(const std::string& name) {
    const std::string command = "cd " + directory.string() +
                                " && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=" + name +
                                " -keyout " + name + ".key -out " + name + ".pem 2>openssl.log";
    ASSERT_EQ(std::system(command.c_str()), 0);
  }
  const temporary_directory made;
  const std::filesystem::path& directory = made.path();
};

TEST_F(tls_context_test, takes_ca_certificate_and_key) {
  make("one");
  config::tls settings;
  settings.ca = settings.certificate = directory / "one.pem";
  settings.key = directory / "one.key";
  const auto context = client_context(settings);
  ASSERT_TRUE(context) << context.error().to_string();
  EXPECT_NE(context->get(), nullptr);
}

TEST_F(tls_context_test, takes_the_system_s_authorities_where_none_is_named) { EXPECT_TRUE(client_context({})); }

TEST_F(tls_context_test, names_the_file_that_is_unusable) {
  make("one");
  make("two");
  const auto garbage = directory / "garbage.pem";
  std::ofstream{garbage} << "not a certificate\n";
  const auto good = directory / "one.pem";
  struct expectation {
    config::tls settings;
    std::string file;
  };
  for (const auto& one : {expectation{{"/nonexistent/ca.pem", "", "", true}, "/nonexistent/ca.pem"},
                          expectation{{garbage, "", "", true}, garbage.string()},
                          expectation{{good, garbage, "", true}, garbage.string()},
                          expectation{{good, good, "/nonexistent/key", true}, "/nonexistent/key"},
                          expectation{{good, good, directory / "two.key", true}, "two.key"}}) {
    const auto context = client_context(one.settings);
    ASSERT_FALSE(context) << one.file;
    EXPECT_EQ(context.error().code, errc::configuration);
    EXPECT_THAT(context.error().message, HasSubstr(one.file));
    EXPECT_THAT(context.error().message, testing::Not(HasSubstr("unknown error")));
  }
}

} // namespace
} // namespace penstock::security
