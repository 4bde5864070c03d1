#include "web/http_server.hpp"
#include "web/http_text.hpp"

#include <gtest/gtest.h>

namespace penstock::web {

TEST(authority, is_a_host_and_perhaps_a_port) {
  EXPECT_EQ(parse_authority("127.0.0.1:8080", 80), (host_and_port{"127.0.0.1", 8080}));
  EXPECT_EQ(parse_authority("LocalHost", 80), (host_and_port{"localhost", 80}));
  EXPECT_EQ(parse_authority("[::1]:9", 80), (host_and_port{"::1", 9}));
  EXPECT_EQ(parse_authority("[::1]", 80), (host_and_port{"::1", 80}));
}

TEST(authority, is_nothing_else) {
  for (const char* bad : {"", ":80", "a:", "a:b", "a:70000", "a:80x", "a:-1", "[::1", "[::1]80", "[]", "a b", "a/b",
                          "user@a:80", "a,b", "::1"})
    EXPECT_EQ(parse_authority(bad, 80), std::nullopt) << bad;
}

TEST(authority, is_written_as_it_is_read) {
  EXPECT_EQ(authority("127.0.0.1", 80), "127.0.0.1:80");
  EXPECT_EQ(authority("::1", 80), "[::1]:80");
}

TEST(target, is_decoded) {
  std::string path;
  std::map<std::string, std::string> query;
  ASSERT_TRUE(parse_target("/a%2Fb/c?x=1&y=a+b%26c&z&=w", path, query));
  EXPECT_EQ(path, "/a/b/c");
  EXPECT_EQ(query, (std::map<std::string, std::string>{{"x", "1"}, {"y", "a b&c"}, {"z", ""}}));
}

TEST(target, with_a_malformed_escape_is_refused) {
  std::string path;
  std::map<std::string, std::string> query;
  for (const char* bad : {"", "*", "a", "/%", "/%2", "/%zz", "/%2x", "/% 1", "/?a=%", "http://a/"})
    EXPECT_FALSE(parse_target(bad, path, query)) << bad;
}

TEST(percent_encoding, comes_back_as_it_was) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte)
    all += static_cast<char>(byte);
  EXPECT_EQ(percent_decode(percent_encode(all)), all);
  EXPECT_EQ(percent_encode("a/b c"), "a%2fb%20c");
}

namespace {
bool same(const std::string& host, const std::string& origin, const std::string& bound = "127.0.0.1") {
  http_request request;
  if (!host.empty())
    request.headers["host"] = host;
  if (!origin.empty())
    request.headers["origin"] = origin;
  return same_origin(request, {bound, 8080});
}
} // namespace

TEST(same_origin, takes_the_nodes_own_name) {
  EXPECT_TRUE(same("127.0.0.1:8080", ""));
  EXPECT_TRUE(same("localhost:8080", ""));
  EXPECT_TRUE(same("LOCALHOST:8080", "http://localhost:8080"));
  EXPECT_TRUE(same("127.0.0.1:8080", "http://127.0.0.1:8080"));
  EXPECT_TRUE(same("node.example:8080", "", "node.example"));
  EXPECT_TRUE(same("[::1]:8080", "http://[::1]:8080", "::1"));
}

TEST(same_origin, refuses_another_host) {
  EXPECT_FALSE(same("", ""));
  EXPECT_FALSE(same("evil.example:8080", ""));
  EXPECT_FALSE(same("127.0.0.1", "")) << "port 80";
  EXPECT_FALSE(same("127.0.0.1:8081", ""));
  EXPECT_FALSE(same("127.0.0.1.evil.example:8080", ""));
  EXPECT_FALSE(same("10.0.0.1:8080", ""));
  EXPECT_FALSE(same("127.0.0.1:8080, evil.example", ""));
}

TEST(same_origin, refuses_another_origin) {
  EXPECT_FALSE(same("127.0.0.1:8080", "http://evil.example"));
  EXPECT_FALSE(same("127.0.0.1:8080", "http://127.0.0.1"));
  EXPECT_FALSE(same("127.0.0.1:8080", "http://127.0.0.1:8081"));
  EXPECT_FALSE(same("127.0.0.1:8080", "https://127.0.0.1:8080"));
  EXPECT_FALSE(same("127.0.0.1:8080", "null"));
  EXPECT_FALSE(same("127.0.0.1:8080", "http://localhost:8080"));
  EXPECT_FALSE(same("127.0.0.1:8080", "http://127.0.0.1:8080/"));
}

TEST(same_origin, a_wildcard_takes_addresses_and_localhost_but_no_other_name) {
  EXPECT_TRUE(same("10.1.2.3:8080", "http://10.1.2.3:8080", "0.0.0.0"));
  EXPECT_TRUE(same("[fe80::1]:8080", "", "::"));
  EXPECT_TRUE(same("localhost:8080", "", "0.0.0.0"));
  EXPECT_FALSE(same("evil.example:8080", "", "0.0.0.0"));
  EXPECT_FALSE(same("localhost:8080", "", "10.1.2.3"));
}

} // namespace penstock::web
