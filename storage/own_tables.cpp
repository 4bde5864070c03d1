#include "storage/own_tables.hpp"

#include <openssl/rand.h>

#include <array>
#include <charconv>
#include <limits>

namespace penstock::storage {

namespace {

// Through hex: the only way that keeps zero bytes with every backend of SOCI.
std::string bytes_of(const std::string& hex) {
  std::string bytes(hex.size() / 2, '\0');
  for (std::size_t index = 0; index < bytes.size(); ++index) {
    unsigned value = 0;
    std::from_chars(hex.data() + 2 * index, hex.data() + 2 * index + 2, value, 16);
    bytes[index] = static_cast<char>(value);
  }
  return bytes;
}

// Binds one value either way. An OR would keep the database from its index.
const char* of_pipeline(const std::string& pipeline) {
  return pipeline.empty() ? ":pipeline = ''" : "pipeline = :pipeline";
}

wall_time time_of(long long microseconds) { return wall_time{std::chrono::microseconds{microseconds}}; }

} // namespace

std::string make_uuid() {
  std::array<unsigned char, 16> bytes{};
  assert_that(RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1, "the system gives random bytes");
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3f) | 0x80);
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (std::size_t index = 0; index < bytes.size(); ++index) {
    if (index == 4 || index == 6 || index == 8 || index == 10)
      text += '-';
    text += digits[bytes[index] >> 4];
    text += digits[bytes[index] & 0x0f];
  }
  return text;
}

template <class Run>
auto own_tables::guarded(const std::string& what, const Run& run) -> decltype(run()) {
  try {
    return run();
  } catch (const std::exception& thrown) {
    return dialect_.failure(thrown, what);
  }
}

void own_tables::set_meta_if_missing(const std::string& key, const std::string& value) {
  session_ << "INSERT INTO penstock_meta (name, value) SELECT :name, :value"
              " WHERE NOT EXISTS (SELECT 1 FROM penstock_meta WHERE name = :same)",
    soci::use(key), soci::use(value), soci::use(key);
}

result<void> own_tables::create() {
  return guarded("cannot create penstock's tables", [&]() -> result<void> {
    session_ << "CREATE TABLE IF NOT EXISTS penstock_meta (name " << dialect_.key_type
             << " NOT NULL PRIMARY KEY, value " << dialect_.text_type << " NOT NULL)";
    set_meta_if_missing("schema_version", std::to_string(own_tables_version));
    auto version = meta("schema_version");
    if (!version)
      return version.error();
    if (*version != std::to_string(own_tables_version))
      return error{errc::unsupported, "penstock's tables in this database have version " + *version +
                                        "; this penstock knows version " + std::to_string(own_tables_version)};
    session_ << "CREATE TABLE IF NOT EXISTS penstock_dead_letters (pipeline " << dialect_.key_type << " NOT NULL, hash "
             << dialect_.key_type << " NOT NULL, topic " << dialect_.text_type << " NOT NULL, payload "
             << dialect_.bytes_type << " NOT NULL, code BIGINT NOT NULL, reason " << dialect_.text_type
             << " NOT NULL, first_seen BIGINT NOT NULL, last_seen BIGINT NOT NULL, seen BIGINT NOT NULL,"
                " attempts BIGINT NOT NULL, PRIMARY KEY (pipeline, hash))";
    return {};
  });
}

result<std::string> own_tables::meta(const std::string& key) {
  return guarded("cannot read penstock_meta", [&]() -> result<std::string> {
    std::string value;
    session_ << "SELECT value FROM penstock_meta WHERE name = :name", soci::use(key), soci::into(value);
    return value;
  });
}

result<std::string> own_tables::installation_id() {
  return guarded("cannot write the installation id", [&]() -> result<std::string> {
    set_meta_if_missing("installation_id", make_uuid());
    return meta("installation_id");
  });
}

result<std::vector<dead_letter>> own_tables::dead_letters(const dead_letter_filter& filter) {
  return guarded("cannot read the dead letters", [&]() -> result<std::vector<dead_letter>> {
    const auto prefix = filter.id.value_or("");
    const auto after = filter.after.value_or("");
    const long long limit =
      filter.limit == 0 ? std::numeric_limits<long long>::max() : static_cast<long long>(filter.limit);
    dead_letter letter;
    std::string topic;
    std::string payload;
    long long bytes = 0, code = 0, first = 0, last = 0, seen = 0, attempts = 0;
    const std::string payload_sql = filter.payloads ? dialect_.hex_function + "(payload)" : "''";
    const auto* const order =
      filter.after ? "hash > :after ORDER BY hash" : ":after = '' ORDER BY last_seen DESC, hash";
    soci::statement query =
      (session_.prepare << "SELECT hash, pipeline, " << dialect_.hex_function << "(topic), " << payload_sql
                        << ", length(payload), code, reason, first_seen, last_seen, seen, attempts"
                           " FROM penstock_dead_letters WHERE "
                        << of_pipeline(filter.pipeline) << " AND substr(hash, 1, length(:prefix)) = :id AND " << order
                        << " LIMIT :most",
       soci::into(letter.id), soci::into(letter.pipeline), soci::into(topic), soci::into(payload), soci::into(bytes),
       soci::into(code), soci::into(letter.reason), soci::into(first), soci::into(last), soci::into(seen),
       soci::into(attempts), soci::use(filter.pipeline), soci::use(prefix), soci::use(prefix), soci::use(after),
       soci::use(limit));
    query.execute();
    std::vector<dead_letter> letters;
    while (query.fetch()) {
      letter.topic = bytes_of(topic);
      letter.payload = bytes_of(payload);
      letter.payload_bytes = static_cast<std::uint64_t>(bytes);
      letter.code = static_cast<errc>(code);
      letter.first_seen = time_of(first);
      letter.last_seen = time_of(last);
      letter.seen = static_cast<std::uint64_t>(seen);
      letter.attempts = static_cast<std::uint64_t>(attempts);
      letters.push_back(letter);
    }
    return letters;
  });
}

result<void> own_tables::dead_letter_attempted(const std::string& pipeline, const std::string& id, const error* why) {
  return guarded("cannot count the attempt", [&]() -> result<void> {
    if (why == nullptr) {
      session_ << "UPDATE penstock_dead_letters SET attempts = attempts + 1 WHERE pipeline = :pipeline AND hash = :id",
        soci::use(pipeline), soci::use(id);
      return {};
    }
    const auto code = static_cast<long long>(why->code);
    session_ << "UPDATE penstock_dead_letters SET attempts = attempts + 1, code = :code, reason = :reason"
                " WHERE pipeline = :pipeline AND hash = :id",
      soci::use(code), soci::use(why->message), soci::use(pipeline), soci::use(id);
    return {};
  });
}

result<void> own_tables::dead_letter_delete(const std::string& pipeline, const std::string& id) {
  return guarded("cannot delete the dead letter", [&]() -> result<void> {
    session_ << "DELETE FROM penstock_dead_letters WHERE pipeline = :pipeline AND hash = :id", soci::use(pipeline),
      soci::use(id);
    return {};
  });
}

result<std::uint64_t> own_tables::dead_letter_count(const std::string& pipeline) {
  return guarded("cannot count the dead letters", [&]() -> result<std::uint64_t> {
    long long count = 0;
    session_ << "SELECT count(*) FROM penstock_dead_letters WHERE " << of_pipeline(pipeline), soci::use(pipeline),
      soci::into(count);
    return static_cast<std::uint64_t>(count);
  });
}

} // namespace penstock::storage
