#include "storage/pgoutput.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::storage::postgresql {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

namespace {

/// A message as the server writes it.
class message {
public:
  explicit message(char kind) : bytes_(1, kind) {}
  message& letter(char value) {
    bytes_ += value;
    return *this;
  }
  message& number(std::uint64_t value, int size) {
    for (int shift = 8 * (size - 1); shift >= 0; shift -= 8)
      bytes_ += static_cast<char>(value >> shift);
    return *this;
  }
  message& text(const std::string& value) {
    bytes_ += value;
    return letter('\0');
  }
  message& column(const std::string& name, std::uint32_t type) {
    return letter('\0').text(name).number(type, 4).number(0xffffffff, 4);
  }
  message& value(const std::string& value) { return letter('t').number(value.size(), 4).raw(value); }
  message& raw(const std::string& bytes) {
    bytes_ += bytes;
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

private:
  std::string bytes_;
};

constexpr std::uint32_t text_type = 25, int8_type = 20, jsonb_type = 3802;

std::string begin(std::int64_t microseconds = 0) {
  return message{'B'}.number(500, 8).number(static_cast<std::uint64_t>(microseconds), 8).number(7, 4).bytes();
}
std::string relation(const std::string& schema = "dbo", const std::string& name = "TableA", std::uint32_t id = 16'400) {
  return message{'R'}
    .number(id, 4)
    .text(schema)
    .text(name)
    .letter('d')
    .number(3, 2)
    .column("Id", int8_type)
    .column("Name", text_type)
    .column("Extra", jsonb_type)
    .bytes();
}
message insert(std::uint32_t id = 16'400) { return message{'I'}.number(id, 4).letter('N').number(3, 2); }
message update(std::uint32_t id = 16'400) { return message{'U'}.number(id, 4); }

class pgoutput_test : public ::testing::Test {
public:
  std::optional<pgoutput::event> read(const std::string& bytes, std::uint64_t at = 0) {
    auto made = reader.read(bytes, at);
    EXPECT_TRUE(made) << made.error().to_string();
    return made ? *made : std::nullopt;
  }
  changed_row row(const std::string& bytes, std::uint64_t at = 0) {
    auto made = read(bytes, at);
    EXPECT_TRUE(made && made->what == pgoutput::event::kind::change);
    return made ? made->row : changed_row{};
  }
  pgoutput reader{"dbo.TableA", {"Id"}};
};

} // namespace

TEST_F(pgoutput_test, an_insert_is_a_row_of_texts_and_json) {
  EXPECT_FALSE(read(begin(1'000'000)));
  EXPECT_FALSE(read(relation()));
  const auto made = row(insert().value("7").value("a \"b\"").value(R"({"x": [1]})").bytes(), 123);
  EXPECT_EQ(made.values, R"({"Id":"7","Name":"a \"b\"","Extra":{"x": [1]}})");
  EXPECT_EQ(made.made_by, changed_row::kind::insert);
  EXPECT_EQ(made.at, 123u);
  EXPECT_TRUE(made.complete);
  EXPECT_THAT(made.key, ElementsAre("7"));
  EXPECT_EQ(made.committed_at.time_since_epoch().count(), 946'684'801'000'000);
}

TEST_F(pgoutput_test, null_and_what_was_left_alone_differ) {
  read(relation());
  const auto made = row(update().letter('N').number(3, 2).value("7").letter('n').letter('u').bytes());
  EXPECT_EQ(made.values, R"({"Id":"7","Name":null})");
  EXPECT_EQ(made.made_by, changed_row::kind::update);
  EXPECT_FALSE(made.complete);
}

TEST_F(pgoutput_test, what_was_left_alone_is_taken_from_the_whole_old_row) {
  read(relation());
  const auto made = row(update()
                          .letter('O')
                          .number(3, 2)
                          .value("7")
                          .value("old")
                          .value("{}")
                          .letter('N')
                          .number(3, 2)
                          .value("7")
                          .value("new")
                          .letter('u')
                          .bytes());
  EXPECT_EQ(made.values, R"({"Id":"7","Name":"new","Extra":{}})");
  EXPECT_EQ(made.made_by, changed_row::kind::update);
  EXPECT_TRUE(made.complete);
}

TEST_F(pgoutput_test, a_row_under_another_key_is_a_new_one) {
  read(relation());
  const auto renamed = [&](const std::string& key) {
    return row(update()
                 .letter('K')
                 .number(3, 2)
                 .value("7")
                 .letter('n')
                 .letter('n')
                 .letter('N')
                 .number(3, 2)
                 .value(key)
                 .letter('n')
                 .letter('n')
                 .bytes());
  };
  EXPECT_EQ(renamed("8").made_by, changed_row::kind::insert);
  EXPECT_EQ(renamed("7").made_by, changed_row::kind::update);
}

TEST_F(pgoutput_test, a_commit_says_where_it_ends) {
  const auto made = read(message{'C'}.letter('\0').number(500, 8).number(540, 8).number(0, 8).bytes());
  ASSERT_TRUE(made);
  EXPECT_EQ(made->what, pgoutput::event::kind::commit);
  EXPECT_EQ(made->end, 540u);
}

TEST_F(pgoutput_test, other_tables_and_other_messages_are_passed_over) {
  read(relation("dbo", "Other", 1));
  read(relation("public", "TableA", 2));
  EXPECT_FALSE(read(insert(1).value("7").letter('n').letter('n').bytes()));
  EXPECT_FALSE(read(insert(2).value("7").letter('n').letter('n').bytes()));
  for (const char kind : {'Y', 'O', 'M', 'T', 'D', 'S', '?'})
    EXPECT_FALSE(read(message{kind}.text("whatever").bytes()));
}

TEST_F(pgoutput_test, a_table_without_its_schema_is_any_of_that_name) {
  reader = pgoutput{"TableA", {"Id"}};
  read(relation("somewhere", "TableA"));
  EXPECT_EQ(row(insert().value("7").letter('n').letter('n').bytes()).key.front(), "7");
}

TEST_F(pgoutput_test, a_table_that_was_altered_is_described_anew) {
  read(relation());
  read(message{'R'}.number(16'400, 4).text("dbo").text("TableA").letter('d').number(1, 2).column("Id", 20).bytes());
  EXPECT_EQ(row(message{'I'}.number(16'400, 4).letter('N').number(1, 2).value("9").bytes()).values, R"({"Id":"9"})");
}

TEST_F(pgoutput_test, a_publication_without_the_key_is_refused) {
  reader = pgoutput{"dbo.TableA", {"Id", "Site"}};
  const auto made = reader.read(relation(), 0);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, errc::schema_mismatch);
  EXPECT_THAT(made.error().message, HasSubstr("Site"));
}

TEST_F(pgoutput_test, a_message_that_is_cut_short_is_an_error_wherever_it_is_cut) {
  read(relation());
  const std::vector<std::string> whole{begin(), relation(), insert().value("7").value("a").value("{}").bytes(),
                                       update().letter('N').number(3, 2).value("7").letter('n').letter('u').bytes(),
                                       message{'C'}.letter('\0').number(5, 8).number(6, 8).number(0, 8).bytes()};
  for (const auto& bytes : whole)
    for (std::size_t size = 1; size < bytes.size() - (bytes[0] == 'C' || bytes[0] == 'B' ? 8 : 0); ++size) {
      const auto made = reader.read(bytes.substr(0, size), 0);
      ASSERT_FALSE(made && *made) << bytes[0] << " of " << size << " bytes";
    }
}

TEST_F(pgoutput_test, a_change_of_an_unknown_table_or_of_other_columns_is_an_error) {
  EXPECT_FALSE(reader.read(insert(99).value("7").letter('n').letter('n').bytes(), 0));
  read(relation());
  EXPECT_FALSE(reader.read(message{'I'}.number(16'400, 4).letter('N').number(1, 2).value("7").bytes(), 0));
}

} // namespace penstock::storage::postgresql
