// The store over a connection: everything that is the same for all databases. Transactions, bisection, dead letters,
// Penstock's own tables.
#pragma once

#include "storage/connection.hpp"
#include "storage/letter_file.hpp"
#include "storage/own_tables.hpp"
#include "storage/store.hpp"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace penstock::storage {

class sql_store final : public store {
public:
  sql_store(std::unique_ptr<connection> database, access access, const config::dead_letters& letters);

  result<void> prepare(const table& table) override;
  result<std::vector<frame_outcome>> write(std::span<const record::frame_view* const> frames) override;
  result<std::vector<std::optional<error>>> replay(std::span<const retried_letter> letters) override;
  result<std::vector<dead_letter>> dead_letters(const dead_letter_filter& filter) override;
  result<std::uint64_t> dead_letter_count(const std::string& pipeline) override;
  result<void> for_each_key(const table& table, const std::function<bool(const key_text&)>& visit) override;
  result<bool> contains(const table& table, const key_text& key) override;
  result<std::uint64_t> row_count(const table& table) override;
  result<std::string> installation_id() override;
  result<session_record> enlist(const session_record& wanted) override;
  result<void> settle(const session_record& confirmed) override;
  result<std::vector<session_record>> sessions() override;
  result<std::uint64_t> delete_older(const table& table, const std::string& column, wall_time before,
                                     std::size_t rows_max) override;
  result<std::uint64_t> delete_older_letters(const std::string& pipeline, wall_time before,
                                             std::size_t rows_max) override;
  result<void> ping() override;

private:
  /// The letters of one transaction, by id: a message that comes twice is one letter, seen twice.
  using letters = std::map<std::string, kept_letter>;

  result<bool> is_complete(const table& target);
  result<void> make_tables(const table& table);
  result<void> prepare_table(const table& target);
  result<void> check_table(const table& target);
  result<std::uint32_t> insert(const batch_view& batch, std::size_t first, std::size_t last, letters& refused,
                               std::vector<std::uint32_t>& refused_of);
  result<std::uint32_t> insert_all(const batch_view& batch, letters& refused, std::vector<std::uint32_t>& refused_of);
  result<void> keep(const letters& all);
  result<void> keep_in_file(std::span<const kept_letter> letters);
  result<std::map<std::string, dead_letter>> letters_in_file(const std::string& pipeline);
  result<std::optional<error>> replay_letter(const retried_letter& letter);
  result<void> settle_file(std::span<const retried_letter> letters, std::span<const std::optional<error>> outcomes);

  std::unique_ptr<connection> database_;
  access access_;
  own_tables own_;
  std::optional<letter_file> letter_file_;
  bool prepared_ = false;
  std::string pipeline_;
};

} // namespace penstock::storage
