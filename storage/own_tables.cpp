#include "storage/own_tables.hpp"

#include "core/assert.hpp"
#include "core/hex.hpp"
#include "storage/session_table.hpp"

#include <openssl/rand.h>

#include <array>
#include <limits>

namespace penstock::storage {

namespace {

// Binds one value either way. An OR would keep the database from its index.
const char* of_pipeline(const std::string& pipeline) {
  return pipeline.empty() ? ":pipeline = ''" : "pipeline = :pipeline";
}

wall_time time_of(long long microseconds) { return wall_time{std::chrono::microseconds{microseconds}}; }

/// Through hexadecimal text: the only way that keeps zero bytes with every backend of SOCI.
std::string bytes_of(const std::string& hex) {
  auto bytes = from_hex(hex);
  assert_that(bytes.has_value(), "a database's hexadecimal text is one");
  return *std::move(bytes);
}

} // namespace

std::string make_uuid() {
  // Drawn for many at once: a call costs more than all else that is done for a row.
  thread_local std::array<char, 4096> drawn{};
  thread_local std::size_t used = drawn.size();
  std::array<char, 16> bytes{};
  if (used == drawn.size()) {
    assert_that(RAND_bytes(reinterpret_cast<unsigned char*>(drawn.data()), static_cast<int>(drawn.size())) == 1,
                "the system gives random bytes");
    used = 0;
  }
  std::copy_n(drawn.begin() + static_cast<std::ptrdiff_t>(used), bytes.size(), bytes.begin());
  used += bytes.size();
  bytes[6] = static_cast<char>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<char>((bytes[8] & 0x3f) | 0x80);
  auto text = to_hex({bytes.data(), bytes.size()});
  for (const std::size_t at : {8u, 13u, 18u, 23u})
    text.insert(at, 1, '-');
  return text;
}

template <class Run>
auto own_tables::guarded(const std::string& what, const Run& run, connection::work work) -> decltype(run()) {
  const auto watch = database_.watched(work);
  try {
    return run();
  } catch (const std::exception& thrown) {
    return database_.failure(thrown, what);
  }
}

void own_tables::set_meta_if_missing(const std::string& key, const std::string& value) {
  session() << "INSERT INTO penstock_meta (name, value) VALUES (:name, :value)" + words().if_new("name"),
    soci::use(key), soci::use(value);
}

result<bool> own_tables::there() {
  auto count = number("SELECT count(*) FROM penstock_meta", {});
  if (!count && count.error().code != errc::schema_mismatch)
    return count.error();
  return static_cast<bool>(count);
}

result<bool> own_tables::complete() {
  for (const char* each : {"penstock_meta", session_table::name, "penstock_dead_letters"}) {
    const auto there = database_.read_table(each);
    if (!there)
      return there.error();
    if (there->kind.empty())
      return false;
  }
  return guarded("cannot write to penstock's tables", [&]() -> result<bool> {
    set_meta_if_missing("schema_version", std::to_string(own_tables_version)); // a server may take no writes
    const auto version = meta("schema_version");
    if (!version)
      return version.error();
    return *version == std::to_string(own_tables_version);
  });
}

// Not IF NOT EXISTS: that wants the right to create tables where there is nothing to create.
result<void> own_tables::create_if_missing(const std::string& name, const std::string& columns) {
  auto there = database_.read_table(name);
  if (!there)
    return there.error();
  if (there->kind.empty())
    session() << "CREATE TABLE " << name << " (" << columns << ")" << words().own_table_end;
  return {};
}

result<void> own_tables::create() {
  return guarded("cannot create penstock's tables", [&]() -> result<void> {
    const auto& key = words().key_type;
    const auto& text = words().text_type;
    if (auto made =
          create_if_missing("penstock_meta", "name " + key + " NOT NULL PRIMARY KEY, value " + text + " NOT NULL");
        !made)
      return made;
    set_meta_if_missing("schema_version", std::to_string(own_tables_version));
    auto version = meta("schema_version");
    if (!version)
      return version.error();
    if (*version != std::to_string(own_tables_version))
      return error{errc::unsupported, "penstock's tables in this database have version " + *version +
                                        "; this penstock knows version " + std::to_string(own_tables_version)};
    if (auto made = create_if_missing(session_table::name, session_table::columns(words())); !made)
      return made;
    return create_if_missing("penstock_dead_letters",
                             "pipeline " + key + " NOT NULL, hash " + key + " NOT NULL, topic " + text +
                               " NOT NULL, payload " + words().bytes_type + " NOT NULL, code BIGINT NOT NULL, reason " +
                               text +
                               " NOT NULL, first_seen BIGINT NOT NULL, last_seen BIGINT NOT NULL, seen BIGINT NOT NULL,"
                               " attempts BIGINT NOT NULL, PRIMARY KEY (pipeline, hash)");
  });
}

result<std::string> own_tables::meta(const std::string& key) {
  return guarded("cannot read penstock_meta", [&]() -> result<std::string> {
    std::string value;
    session() << "SELECT value FROM penstock_meta WHERE name = :name", soci::use(key), soci::into(value);
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
    const std::string payload_sql = filter.payloads ? words().hex("payload", false) : "''";
    const auto* const order =
      filter.after ? "hash > :after ORDER BY hash" : ":after = '' ORDER BY last_seen DESC, hash";
    soci::statement query{session()};
    for (auto* text : {&letter.id, &letter.pipeline, &topic, &payload})
      query.exchange(soci::into(*text));
    query.exchange(soci::into(bytes));
    query.exchange(soci::into(code));
    query.exchange(soci::into(letter.reason));
    for (auto* number : {&first, &last, &seen, &attempts})
      query.exchange(soci::into(*number));
    for (const auto* text : {&filter.pipeline, &prefix, &prefix, &after})
      query.exchange(soci::use(*text));
    query.exchange(soci::use(limit));
    query.alloc();
    query.prepare("SELECT hash, pipeline, " + words().hex("topic", true) + ", " + payload_sql +
                    ", length(payload), code, reason, first_seen, last_seen, seen, attempts"
                    " FROM penstock_dead_letters WHERE " +
                    of_pipeline(filter.pipeline) + " AND substr(hash, 1, length(:prefix)) = :id AND " + order +
                    " LIMIT :most",
                  soci::details::st_one_time_query);
    query.define_and_bind();
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
      session() << "UPDATE penstock_dead_letters SET attempts = attempts + 1 WHERE pipeline = :pipeline AND hash = :id",
        soci::use(pipeline), soci::use(id);
      return {};
    }
    const auto code = static_cast<long long>(why->code);
    session() << "UPDATE penstock_dead_letters SET attempts = attempts + 1, code = :code, reason = :reason"
                 " WHERE pipeline = :pipeline AND hash = :id",
      soci::use(code), soci::use(why->message), soci::use(pipeline), soci::use(id);
    return {};
  });
}

result<void> own_tables::dead_letter_delete(const std::string& pipeline, const std::string& id) {
  return guarded("cannot delete the dead letter", [&]() -> result<void> {
    session() << "DELETE FROM penstock_dead_letters WHERE pipeline = :pipeline AND hash = :id", soci::use(pipeline),
      soci::use(id);
    return {};
  });
}

result<std::uint64_t> own_tables::dead_letter_count(const std::string& pipeline) {
  return guarded("cannot count the dead letters", [&]() -> result<std::uint64_t> {
    long long count = 0;
    session() << "SELECT count(*) FROM penstock_dead_letters WHERE " << of_pipeline(pipeline), soci::use(pipeline),
      soci::into(count);
    return static_cast<std::uint64_t>(count);
  });
}

result<std::uint64_t> own_tables::delete_older_letters(const std::string& pipeline, wall_time before,
                                                       std::size_t rows_max) {
  return guarded("cannot delete old dead letters", [&]() -> result<std::uint64_t> {
    const auto limit = static_cast<long long>(before.time_since_epoch().count());
    soci::statement query{session()};
    query.exchange(soci::use(pipeline));
    query.exchange(soci::use(limit));
    query.alloc();
    query.prepare(words().delete_some("penstock_dead_letters", "pipeline, hash",
                                      "pipeline = :pipeline AND last_seen < :before", rows_max),
                  soci::details::st_one_time_query);
    query.define_and_bind();
    query.execute(true);
    return static_cast<std::uint64_t>(query.get_affected_rows());
  });
}

result<void> own_tables::change_schema(const std::string& sql) {
  return guarded(
    sql,
    [&]() -> result<void> {
      session() << sql;
      return {};
    },
    connection::work::schema_change);
}

result<std::uint64_t> own_tables::affected(const std::string& sql) {
  return guarded(sql, [&]() -> result<std::uint64_t> {
    soci::statement query{session()};
    query.alloc();
    query.prepare(sql, soci::details::st_one_time_query);
    query.define_and_bind();
    query.execute(true);
    return static_cast<std::uint64_t>(query.get_affected_rows());
  });
}

result<std::uint64_t> own_tables::number(const std::string& sql, const std::vector<std::string>& values) {
  return guarded(sql, [&]() -> result<std::uint64_t> {
    long long value = 0;
    soci::statement query{session()};
    query.exchange(soci::into(value));
    for (const auto& each : values)
      query.exchange(soci::use(each));
    query.alloc();
    query.prepare(sql, soci::details::st_one_time_query);
    query.define_and_bind();
    query.execute(true);
    return static_cast<std::uint64_t>(value);
  });
}

} // namespace penstock::storage
