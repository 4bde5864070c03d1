#include "nodes/replace_file.hpp"
#include "nodes/run_file.hpp"
#include "nodes/text_difference.hpp"
#include "tests/support/temporary_directory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

namespace penstock::nodes {

namespace {

using ::testing::HasSubstr;

struct file_test : ::testing::Test {
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator{folder}, {}));
  }

  const temporary_directory directory;
  const std::filesystem::path& folder = directory.path();
  const std::filesystem::path file = directory.write("p.yaml", "one\n");
};

using replace_file_test = file_test;
using run_file_test = file_test;

TEST_F(replace_file_test, keeps_the_mode_and_leaves_nothing_behind) {
  ASSERT_EQ(::chmod(file.c_str(), 0640), 0);
  ASSERT_TRUE(replace_file(file, "one\n", "two\n"));
  EXPECT_EQ(*read_text(file), "two\n");
  struct stat now {};
  ::stat(file.c_str(), &now);
  EXPECT_EQ(now.st_mode & 0777, 0640u);
  EXPECT_EQ(files(), 1u);
}

TEST_F(replace_file_test, changes_what_a_link_leads_to) {
  std::filesystem::create_symlink(file, folder / "link");
  ASSERT_TRUE(replace_file(folder / "link", "one\n", "two\n"));
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_EQ(*read_text(file), "two\n");
}

TEST_F(replace_file_test, leaves_a_file_alone_that_somebody_else_has_changed) {
  const auto replaced = replace_file(file, "another\n", "two\n");
  ASSERT_FALSE(replaced);
  EXPECT_THAT(replaced.error().message, HasSubstr("changed meanwhile"));
  EXPECT_EQ(*read_text(file), "one\n");
  EXPECT_EQ(files(), 1u);
  EXPECT_FALSE(replace_file(folder / "nothing", "", "two\n"));
}

TEST_F(run_file_test, is_believed_only_while_its_process_holds_the_lock) {
  run_file content;
  content.pid = ::getpid();
  content.configuration = file;
  ASSERT_TRUE(write_run_file(folder, content));
  EXPECT_FALSE(read_run_file(folder)) << "it lives, and may be another process that has got the number";
  {
    const auto lock = data_lock::acquire(folder);
    ASSERT_TRUE(lock);
    const auto read = read_run_file(folder);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(read->configuration, file);
    content.pid = ::getppid();
    ASSERT_TRUE(write_run_file(folder, content));
    EXPECT_FALSE(read_run_file(folder));
  }
}

TEST(text_difference, is_what_diff_prints_without_context) {
  EXPECT_EQ(difference("f", "a\nb\nc\n", "a\nb\nx\ny\nc\n"), "--- f\n+++ f\n@@ -2,0 +3,2 @@\n+x\n+y\n");
  EXPECT_EQ(difference("f", "a\nb\nc\n", "a\nc\n"), "--- f\n+++ f\n@@ -2 +1,0 @@\n-b\n");
  EXPECT_EQ(difference("f", "a\nb", "a\nb\nc\n"),
            "--- f\n+++ f\n@@ -2 +2,2 @@\n-b\n\\ No newline at end of file\n+b\n+c\n");
  EXPECT_EQ(difference("f", "", "a\n"), "--- f\n+++ f\n@@ -0,0 +1 @@\n+a\n");
  EXPECT_EQ(difference("f", "a\n", "a\n"), "");
}

} // namespace

} // namespace penstock::nodes
