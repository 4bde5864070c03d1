#include "storage/store.hpp"

#include "core/assert.hpp"
#include "core/hex.hpp"
#include "storage/mariadb.hpp"
#include "storage/postgresql.hpp"
#include "storage/sql_store.hpp"
#include "storage/sqlite.hpp"

#include <openssl/evp.h>

#include <array>

namespace penstock::storage {

table table_of(const config::ingest& pipeline) {
  table made{.pipeline = pipeline.name,
             .name = pipeline.table,
             .columns = {},
             .key = pipeline.key,
             .indexes = pipeline.indexes,
             .on_conflict = pipeline.on_conflict,
             .order = pipeline.order,
             .hypertable = pipeline.hypertable};
  for (const auto& column : pipeline.columns)
    made.columns.push_back({column.name, column.type, column.optional});
  return made;
}

std::string dead_letter_id(std::string_view topic, std::string_view payload) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> digest{EVP_MD_CTX_new(), EVP_MD_CTX_free};
  std::array<unsigned char, 32> hash{};
  // The zero keeps the border between topic and payload: a topic cannot contain one.
  const bool hashed = digest && EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr) == 1 &&
                      EVP_DigestUpdate(digest.get(), topic.data(), topic.size()) == 1 &&
                      EVP_DigestUpdate(digest.get(), "\0", 1) == 1 &&
                      EVP_DigestUpdate(digest.get(), payload.data(), payload.size()) == 1 &&
                      EVP_DigestFinal_ex(digest.get(), hash.data(), nullptr) == 1;
  assert_that(hashed, "OpenSSL computes SHA-256");
  return to_hex({reinterpret_cast<const char*>(hash.data()), hash.size()});
}

namespace {

result<std::unique_ptr<connection>> open_by_kind(const config::database& database, access access) {
  switch (database.kind) {
  case config::database_kind::sqlite: return open_sqlite(database, access);
  case config::database_kind::postgresql: return open_postgresql(database, access);
  case config::database_kind::mysql: return open_mariadb(database, access);
  }
  return error{errc::unsupported, "no such kind of database"};
}

} // namespace

result<std::unique_ptr<connection>> open_connection(const config::database& database, access access,
                                                    const connection_board& board) {
  auto opened = open_by_kind(database, access);
  if (opened && board)
    (*opened)->counts_as(board->opened());
  return opened;
}

result<std::unique_ptr<store>> open(const config::database& database, access access,
                                    const config::dead_letters& letters, const connection_board& board) {
  auto opened = open_connection(database, access, board);
  if (!opened)
    return opened.error();
  return std::unique_ptr<store>{std::make_unique<sql_store>(*std::move(opened), access, letters)};
}

} // namespace penstock::storage
