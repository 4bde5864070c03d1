#include "config/value.hpp"

#include <gtest/gtest.h>

namespace penstock::config {

using namespace std::chrono_literals;

namespace {

TEST(value, durations_have_a_unit) {
  EXPECT_EQ(*parse_duration("100ms"), 100ms);
  EXPECT_EQ(*parse_duration("5s"), 5s);
  EXPECT_EQ(*parse_duration("10m"), 10min);
  EXPECT_EQ(*parse_duration("2 h"), 2h);
  EXPECT_EQ(*parse_duration("7d"), 7 * 24h);
  EXPECT_EQ(*parse_duration("1 day"), 24h);
  EXPECT_EQ(*parse_duration("90 days"), 90 * 24h);
  EXPECT_EQ(*parse_duration("2hours"), 2h);
  for (const char* text :
       {"", "5", "s", "5S", "-5s", "1.5s", "1h30m", "5 s ", "99999999999999999999s", "9223372036854775807d"})
    EXPECT_FALSE(parse_duration(text)) << text;
}

TEST(value, durations_and_sizes_print_in_the_largest_unit_that_fits) {
  EXPECT_EQ(to_text(0ms), "0s");
  EXPECT_EQ(to_text(1500ms), "1500ms");
  EXPECT_EQ(to_text(90s), "90s");
  EXPECT_EQ(to_text(48h), "2d");
  EXPECT_EQ(size_to_text(0), "0B");
  EXPECT_EQ(size_to_text(1023), "1023B");
  EXPECT_EQ(size_to_text(16u << 20), "16MiB");
}

TEST(value, sizes_have_a_unit) {
  EXPECT_EQ(*parse_size("16MiB"), 16u << 20);
  EXPECT_EQ(*parse_size("0B"), 0u);
  for (const char* text : {"16", "16MB", "16mib", "MiB", "1.5GiB"})
    EXPECT_FALSE(parse_size(text)) << text;
}

TEST(value, counts_may_be_thousands_or_more) {
  EXPECT_EQ(*parse_count("0"), 0u);
  EXPECT_EQ(*parse_count("500"), 500u);
  EXPECT_EQ(*parse_count("20k"), 20'000u);
  EXPECT_EQ(*parse_count("10M"), 10'000'000u);
  EXPECT_EQ(*parse_count("1G"), 1'000'000'000u);
  for (const char* text : {"", "M", "1.5M", "10m", "-1", "1%", "99999999999G"})
    EXPECT_FALSE(parse_count(text)) << text;
  for (const char* text : {"0", "1", "1001", "20k", "10M", "3G"})
    EXPECT_EQ(count_to_text(*parse_count(text)), text);
}

TEST(value, percentages_have_two_decimals_at_most) {
  EXPECT_EQ(*parse_percentage("1%"), 100u);
  EXPECT_EQ(*parse_percentage("0.25%"), 25u);
  EXPECT_EQ(*parse_percentage("12.5%"), 1'250u);
  EXPECT_EQ(*parse_percentage("0%"), 0u);
  for (const char* text : {"", "%", "1", "1 %", ".5%", "1.%", "0.125%", "-1%", "1e1%", "1.-1%", "1%%", "9999999%"})
    EXPECT_FALSE(parse_percentage(text)) << text;
  for (const char* text : {"0%", "1%", "0.25%", "0.05%", "12.5%", "99.99%"})
    EXPECT_EQ(percentage_to_text(*parse_percentage(text)), text);
}

TEST(value, addresses_are_host_and_port) {
  EXPECT_EQ(*parse_address("0.0.0.0:0"), (address{"0.0.0.0", 0}));
  EXPECT_EQ(*parse_address("[::1]:80"), (address{"::1", 80}));
  EXPECT_EQ((address{"::1", 80}).to_string(), "[::1]:80");
  for (const char* text : {"", ":80", "h", "h:", "h:x", "h:65536", "::1:80", "h/x:80", "[::1]", "a b:1"})
    EXPECT_FALSE(parse_address(text)) << text;
}

TEST(value, urls_of_databases_have_one_form) {
  const auto printed = [](const char* text) {
    const auto url = parse_database_url(text);
    EXPECT_TRUE(url) << text << ": " << (url ? "" : url.error().message);
    return url ? to_text(*url) : std::string{};
  };
  EXPECT_EQ(printed("sqlite:a/../b.db"), "sqlite:a/../b.db");
  EXPECT_EQ(printed("postgres://u:p@h/x"), "postgresql://h:5432/x");
  EXPECT_EQ(printed("mariadb://u:p@h:3307/x?sslmode=verify-ca"), "mysql://h:3307/x?sslmode=verify-ca");
  EXPECT_EQ(printed("postgresql://[::1]/a%2fb%C3%A9?"), "postgresql://[::1]:5432/a%2Fb%C3%A9");
  EXPECT_EQ(printed("postgresql://u@/x?host=/run/postgresql"), "postgresql:///x?host=/run/postgresql");
  EXPECT_EQ(printed("postgresql://localhost:5433/x?host=%2Frun"), "postgresql://:5433/x?host=/run");
  EXPECT_EQ(printed("mysql://localhost/x?socket=/run/a%26b"), "mysql:///x?socket=/run/a%26b");
}

TEST(value, urls_of_databases_have_parts) {
  const auto url = parse_database_url("mysql://us%65r:p%40:/?#@h/x%20y?sslmode=require");
  ASSERT_TRUE(url);
  EXPECT_EQ(url->kind, database_kind::mysql);
  EXPECT_EQ(url->address, (database_address{{}, "h", 3'306, "x y", "", {}, tls_mode::prefer}));
  EXPECT_EQ(url->user, "user");
  EXPECT_EQ(url->password, "p@:/?#");
  EXPECT_EQ(url->tls_mode, tls_mode::require);
  const auto socket = parse_database_url("postgresql:///x?host=/run");
  ASSERT_TRUE(socket);
  EXPECT_TRUE(is_socket(socket->address));
  EXPECT_FALSE(is_socket(url->address));
  EXPECT_EQ(socket->user, std::nullopt);
}

TEST(value, sources_print_as_they_were_written) {
  for (const char* text : {"payload.raw", "payload.rest", "payload.a", "payload.a.b[0].c", "payload[3].x",
                           "payload.a[0][1]", "topic", "topic.user_id", "$received", "$latency_ms"}) {
    const auto source = parse_source(text);
    ASSERT_TRUE(source) << text;
    EXPECT_EQ(to_text(*source), text);
  }
}

TEST(value, escaped_variables_come_back_as_they_were) {
  const auto nothing = [](const std::string&) { return std::optional<std::string>{}; };
  for (const char* text : {"", "$", "$$", "${", "$${", "$$${X}", "a${X}b$", "{$}", "$a{$$$${"}) {
    EXPECT_FALSE(has_variables(escape_variables(text))) << text;
    EXPECT_EQ(*with_variables(escape_variables(text), nothing), text);
  }
  EXPECT_TRUE(has_variables("a $$ ${X}"));
}

} // namespace

} // namespace penstock::config
