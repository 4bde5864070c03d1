#include "core/utf8.hpp"

#include <gtest/gtest.h>

namespace penstock {
namespace {

TEST(utf8_test, text_stays_as_it_is) {
  for (const char* text :
       {"", "plain", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x9a\xb0", "\x7f\n\t", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf"})
    EXPECT_EQ(clean_utf8(text), text);
}

TEST(utf8_test, what_is_no_text_becomes_the_replacement_character) {
  const std::string r = "\xef\xbf\xbd";
  EXPECT_EQ(clean_utf8({"a\0b", 3}), "a" + r + "b");
  EXPECT_EQ(clean_utf8("\xff"), r);
  EXPECT_EQ(clean_utf8("\xc3"), r) << "cut off";
  EXPECT_EQ(clean_utf8("\xc0\xaf"), r + r) << "longer than needed";
  EXPECT_EQ(clean_utf8("\xe0\x80\x80x"), r + r + r + "x");
  EXPECT_EQ(clean_utf8("\xed\xa0\x80"), r + r + r) << "a surrogate";
  EXPECT_EQ(clean_utf8("\xf4\x90\x80\x80"), r + r + r + r) << "beyond Unicode";
  EXPECT_EQ(clean_utf8("\x80z\xe2\x82"), r + "z" + r + r);
}

TEST(utf8_test, a_prefix_ends_between_characters) {
  EXPECT_EQ(utf8_prefix("abc", 5), "abc");
  EXPECT_EQ(utf8_prefix("abc", 2), "ab");
  EXPECT_EQ(utf8_prefix("a\xe2\x82\xac", 4), "a\xe2\x82\xac");
  EXPECT_EQ(utf8_prefix("a\xe2\x82\xac", 3), "a");
  EXPECT_EQ(utf8_prefix("a\xe2\x82\xac", 1), "a");
  EXPECT_EQ(utf8_prefix("\xe2\x82\xac", 2), "");
}

} // namespace
} // namespace penstock
