// No secret may get into what is printed: neither `show` nor the text of any problem.
#include "config/diff.hpp"
#include "tests/unit/config/support.hpp"

#include <gmock/gmock.h>

namespace penstock::config {

using namespace test;
using ::testing::HasSubstr;
using ::testing::Not;

namespace {

TEST(secrets, are_masked_by_show) {
  const temporary_directory folder;
  const auto file = folder.write("secret.txt", "hunter3");
  const auto c = loaded("brokers:\n"
                        "  a: {url: 'mqtt://h', user: u, password: hunter2}\n"
                        "  b: {url: 'mqtt://u:hunter2@h'}\n"
                        "  c: {url: 'mqtt://u@h', password_file: '" +
                        file.string() +
                        "'}\n"
                        "databases:\n"
                        "  a: {url: 'postgresql://h/x', user: u, password: hunter2}\n"
                        "  b: {url: 'mysql://u:hunter2@h/x', read_url: 'mysql://u:hunter2@r/x'}\n");
  EXPECT_EQ(c.databases.at("b").read_address->password.value, "hunter2");
  EXPECT_EQ(c.brokers.at("b").password.value, "hunter2");
  EXPECT_EQ(c.brokers.at("c").password.value, "hunter3");
  for (const bool json : {false, true}) {
    EXPECT_THAT(show(c, json), Not(HasSubstr("hunter")));
    EXPECT_THAT(show(c, json), HasSubstr("***"));
  }
}

TEST(secrets, are_masked_in_differences) {
  const auto with_password = [](const std::string& text) {
    return loaded("brokers: {a: {url: 'mqtt://h', user: u, password: " + text + "}}");
  };
  const auto changes = diff(with_password("hunter2"), with_password("hunter3"));
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].path, "brokers.a.password");
  EXPECT_THAT(changes[0].before + changes[0].after, Not(HasSubstr("hunter")));
}

TEST(secrets, of_databases_are_masked_in_differences) {
  const auto with_password = [](const std::string& text) {
    return loaded("databases: {a: {url: 'mysql://u:" + text + "@h/x', read_url: 'mysql://r/x'}}");
  };
  const auto changes = diff(with_password("hunter2"), with_password("hunter3"));
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].path, "databases.a.password");
  EXPECT_EQ(changes[0].before + changes[0].after, "\"***\"\"***\"");
}

class secret_in : public ::testing::TestWithParam<const char*> {};

// Each file is wrong, and holds the secret as text or through ${SECRET}.
TEST_P(secret_in, gets_into_no_problem) {
  const auto problems = problems_of(GetParam(), with({{"SECRET", "hunter2"}}));
  EXPECT_FALSE(problems.empty());
  EXPECT_THAT(all_of(problems), Not(HasSubstr("hunter2")));
}

INSTANTIATE_TEST_SUITE_P(
  anywhere, secret_in,
  ::testing::Values(
    "brokers: {b: {url: 'mqtt://u:hunter2@h:99999'}}", "brokers: {b: {url: 'mqtt://u:hun/hunter2@h:0'}}",
    "brokers: {b: {url: 'mqtt://u:hunter2%zz@h'}}", "brokers: {b: {url: 'http://u:hunter2@h'}}",
    "databases: {d: {url: 'postgresql://u:hunter2@h'}}", "databases: {d: {url: 'postgresq://u:hunter2@h/x'}}",
    "databases: {d: {url: 'mysql://u:hunter2%zz@h/x'}}",
    "databases: {d: {url: 'postgresql://h/x?user=u&password=hunter2'}}",
    "databases: {d: {url: 'postgresql://h/x?hunter2'}}", "databases: {d: {url: 'host=h password=hunter2'}}",
    "databases: {d: {url: 'mysql://h/x', read_url: 'mysql://u:hunter2@r/x'}}",
    "databases: {d: {url: 'mysql://u:hunter2@h/x', read_url: 'mysql://u:hunter3@r/x'}}",
    "databases: {d: {url: 'mysql://u:hunter2@h/x', password: hunter2}}",
    "databases: {d: {url: '${SECRET}:${SECRET}', read_url: '${SECRET}'}}",
    "databases: {d: {url: 'mysql://${SECRET}/${SECRET}?socket=${SECRET}', read_url: '${SECRET}'}}",
    "brokers: {b: {url: 'mqtt://h', user: u, password: [hunter2]}}",
    "brokers: {b: {url: 'mqtt://h', user: u, password: {hunter2: x}}}",
    "brokers: {b: {url: 'mqtt://h', password: hunter2}}", "brokers: {b: {embedded: true, user: u, password: hunter2}}",
    "brokers: {b: {url: 'mqtt://h', user: u, pasword: hunter2}}",
    "brokers:\n  b:\n    url: mqtt://h\n    'password hunter2':\n",
    "brokers:\n  b:\n    url: mqtt://h\n    password hunter2\n", "brokers: {b: {url: 'mqtt://${SECRET}@h:0'}}",
    "brokers: {b: {url: 'mqtt://h', user: u, password: 'hunter2', password_file: '${SECRET}'}}",
    "brokers: {b: {url: 'mqtt://u@h', password_file: '${SECRET}'}}", "log: {level: '${SECRET}'}",
    "supervision: {window: '${SECRET}', restarts_max: '${SECRET}'}", "node: {http: '${SECRET}', admin: '${SECRET}'}",
    "node: {name: '${SECRET} x'}", "control: {broker: '${SECRET}'}",
    "brokers: {b: {embedded: true}}\ncontrol: {broker: b, status_topic: '${SECRET}/#'}",
    "databases: {d: {url: '${SECRET}', synchronous: '${SECRET}'}}", "data: \"hunter2"));

TEST(secrets, of_variables_get_into_no_problem_of_a_pipeline) {
  const std::vector<std::pair<std::size_t, std::string>> lines{
    {5, "    broker: ${SECRET}"},
    {6, "    topics: ['${SECRET}/#/x']"},
    {6, "    topics: ['{${SECRET}}/{${SECRET}}']"},
    {7, "    database: ${SECRET}"},
    {8, "    table: ${SECRET}-"},
    {9, "    key: ['${SECRET}']"},
    {14, "    on_conflict: update\n    order: ${SECRET}"},
    {14, "    retention: 1d\n    retention_column: ${SECRET}"},
    {14, "    hypertable: {time_column: '${SECRET}'}"},
    {14, "    dead_letters: {file: '${SECRET}/', retention: '${SECRET}'}"},
    {14, "    indexes: [['${SECRET}'], ['user ${SECRET}']]"},
    {14, "      x: {from: 'topic.${SECRET}', type: text}"},
    {14, "      x: {from: '${SECRET}', type: '${SECRET}'}"},
    {14, "      x: {value: '${SECRET}', type: integer}"},
  };
  for (const auto& [line, text] : lines) {
    const auto problems = problems_of(pipeline_with(line, text), with({{"SECRET", "hunter2"}}));
    EXPECT_FALSE(problems.empty()) << text;
    EXPECT_THAT(all_of(problems), Not(HasSubstr("hunter2")));
  }
}

} // namespace

} // namespace penstock::config
