#include "core/error.hpp"

#include <gtest/gtest.h>

namespace penstock {

TEST(error, prints_the_name_of_its_code_and_the_message) {
  EXPECT_EQ((error{errc::database_busy, "the file is locked"}).to_string(), "database_busy: the file is locked");
  EXPECT_EQ((error{errc::timed_out, ""}).to_string(), "timed_out");
}

TEST(error, disposition_follows_the_hundreds_of_the_code) {
  EXPECT_EQ(disposition_of(errc::database_full), disposition::retry);
  EXPECT_EQ(disposition_of(errc::row_refused), disposition::dead_letter);
  EXPECT_EQ(disposition_of(errc::schema_mismatch), disposition::fatal);
}

} // namespace penstock
