#include "storage/letter_file.hpp"

#include "core/hex.hpp"

#include <nlohmann/json.hpp>

#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <fstream>
#include <system_error>
#include <unistd.h>
#include <zlib.h>

namespace penstock::storage {

namespace {

using json = nlohmann::ordered_json;

std::string checksum(std::string_view text) {
  const auto crc = crc32(0, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size()));
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8)
    bytes += static_cast<char>((crc >> shift) & 0xff);
  return to_hex(bytes);
}

std::string line_of(const json& object) {
  const auto text = object.dump(-1, ' ', false, json::error_handler_t::replace);
  return checksum(text) + ' ' + text + '\n';
}

std::string line_of(const dead_letter& letter) {
  return line_of({{"id", letter.id},
                  {"pipeline", letter.pipeline},
                  {"topic_hex", to_hex(letter.topic)},
                  {"payload_hex", to_hex(letter.payload)},
                  {"code", static_cast<std::uint16_t>(letter.code)},
                  {"reason", letter.reason},
                  {"first_seen", letter.first_seen.time_since_epoch().count()},
                  {"last_seen", letter.last_seen.time_since_epoch().count()},
                  {"seen", letter.seen},
                  {"attempts", letter.attempts}});
}

wall_time time_of(const json& value) { return wall_time{std::chrono::microseconds{value.get<std::int64_t>()}}; }

dead_letter letter_of(const json& object) {
  const auto topic = from_hex(object.at("topic_hex").get<std::string>());
  const auto payload = from_hex(object.at("payload_hex").get<std::string>());
  if (!topic || !payload)
    throw std::invalid_argument{"not hexadecimal"};
  return {.id = object.at("id").get<std::string>(),
          .pipeline = object.at("pipeline").get<std::string>(),
          .topic = *topic,
          .payload = *payload,
          .payload_bytes = payload->size(),
          .code = static_cast<errc>(object.at("code").get<std::uint16_t>()),
          .reason = object.at("reason").get<std::string>(),
          .first_seen = time_of(object.at("first_seen")),
          .last_seen = time_of(object.at("last_seen")),
          .seen = object.at("seen").get<std::uint64_t>(),
          .attempts = object.at("attempts").get<std::uint64_t>()};
}

/// False where the line is damaged.
bool take(std::string_view line, letter_file::content& into) {
  constexpr std::size_t crc_digits = 8;
  if (line.size() < crc_digits + 1 || line.substr(0, crc_digits) != checksum(line.substr(crc_digits + 1)))
    return false;
  try {
    const auto object = json::parse(line.substr(crc_digits + 1));
    if (object.value("gone", false))
      into.letters.erase(object.at("id").get<std::string>());
    else if (auto letter = letter_of(object); true)
      into.letters[letter.id] = std::move(letter);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

class descriptor {
public:
  explicit descriptor(int number) : number_(number) {}
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  ~descriptor() {
    if (number_ >= 0)
      ::close(number_);
  }
  int get() const { return number_; }

private:
  int number_;
};

error cannot_write(const std::filesystem::path& file, int why) {
  return {why == ENOSPC || why == EDQUOT ? errc::database_full : errc::database_unavailable,
          "cannot write dead letters to " + file.string() + ": " + std::generic_category().message(why)};
}

} // namespace

std::filesystem::path letter_file::rotated(std::size_t number) const {
  return file_.string() + "." + std::to_string(number);
}

result<letter_file::content> letter_file::read() const {
  content found;
  std::vector<std::filesystem::path> files;
  for (std::size_t number = 1; std::filesystem::exists(rotated(number)); ++number)
    files.push_back(rotated(number));
  files.push_back(file_);
  for (const auto& each : files) {
    std::ifstream stream{each, std::ios::binary};
    for (std::string line; std::getline(stream, line);)
      found.damaged += take(line, found) ? 0 : 1;
    if (stream.bad())
      return error{errc::database_unavailable, "cannot read dead letters from " + each.string()};
  }
  return found;
}

result<void> letter_file::put(std::span<const dead_letter> letters) {
  std::string lines;
  for (const auto& letter : letters)
    lines += line_of(letter);
  return append(lines);
}

result<void> letter_file::remove(std::span<const std::string> ids) {
  std::string lines;
  for (const auto& id : ids)
    lines += line_of(json{{"id", id}, {"gone", true}});
  return append(lines);
}

result<void> letter_file::append(const std::string& lines) {
  if (lines.empty())
    return {};
  std::error_code ignored;
  const auto size = std::filesystem::file_size(file_, ignored);
  if (!ignored && size > 0 && size + lines.size() > bytes_max_) {
    std::size_t number = 1;
    while (std::filesystem::exists(rotated(number)))
      ++number;
    std::filesystem::rename(file_, rotated(number), ignored);
  }
  std::filesystem::create_directories(file_.parent_path(), ignored);
  const descriptor file{::open(file_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
  if (file.get() < 0)
    return cannot_write(file_, errno);
  // A line that was cut short by a crash must not swallow the next one.
  std::string text;
  char last = '\n';
  if (const auto end = ::lseek(file.get(), 0, SEEK_END); end > 0 && ::pread(file.get(), &last, 1, end - 1) != 1)
    return cannot_write(file_, errno);
  if (last != '\n')
    text = "\n";
  text += lines;
  for (std::size_t done = 0; done < text.size();) {
    const auto written = ::write(file.get(), text.data() + done, text.size() - done);
    if (written < 0 && errno != EINTR)
      return cannot_write(file_, errno);
    done += written > 0 ? static_cast<std::size_t>(written) : 0;
  }
  if (::fdatasync(file.get()) != 0)
    return cannot_write(file_, errno);
  const descriptor directory{::open(file_.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (directory.get() < 0 || ::fsync(directory.get()) != 0) // the name of a new file
    return cannot_write(file_, errno);
  return {};
}

} // namespace penstock::storage
