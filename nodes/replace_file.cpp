#include "nodes/replace_file.hpp"

#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace penstock::nodes {

namespace {

error failure(const std::string& what, const std::filesystem::path& file) {
  return error{errc::configuration,
               "cannot " + what + " " + file.string() + ": " + std::generic_category().message(errno)};
}

class open_file {
public:
  explicit open_file(int file) : file_(file) {}
  ~open_file() { ::close(file_); }
  open_file(const open_file&) = delete;
  open_file& operator=(const open_file&) = delete;

  bool write(const std::string& text) const {
    for (std::size_t done = 0; done < text.size();) {
      const auto wrote = ::write(file_, text.data() + done, text.size() - done);
      if (wrote < 0 && errno != EINTR)
        return false;
      done += wrote > 0 ? static_cast<std::size_t>(wrote) : 0;
    }
    return ::fsync(file_) == 0;
  }
  /// Only root may give files away: to whom it belongs matters less than that it is written.
  bool take_rights_of(const struct stat& other) const {
    [[maybe_unused]] const int given = ::fchown(file_, other.st_uid, other.st_gid);
    return ::fchmod(file_, other.st_mode & 07777) == 0;
  }

private:
  int file_;
};

} // namespace

result<std::string> read_text(const std::filesystem::path& file) {
  std::ifstream stream{file, std::ios::binary};
  std::ostringstream text;
  text << stream.rdbuf();
  if (!stream)
    return failure("read", file);
  return text.str();
}

result<void> replace_file(const std::filesystem::path& file, const std::string& before, const std::string& after) {
  std::error_code ignored;
  const auto target = std::filesystem::canonical(file, ignored);
  const auto temporary = std::filesystem::path{target.string() + ".new"};
  struct stat rights {};
  if (target.empty() || ::stat(target.c_str(), &rights) != 0)
    return failure("find", file);
  const int made = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (made < 0)
    return failure("make", temporary);
  const open_file written{made};
  const auto give_up = [&](const error& why) {
    std::filesystem::remove(temporary, ignored);
    return why;
  };
  if (!written.take_rights_of(rights) || !written.write(after))
    return give_up(failure("write", temporary));
  const auto now = read_text(target);
  if (!now || *now != before)
    return give_up({errc::configuration, file.string() + " was changed meanwhile; try again"});
  if (::rename(temporary.c_str(), target.c_str()) != 0)
    return give_up(failure("replace", file));
  return {};
}

} // namespace penstock::nodes
