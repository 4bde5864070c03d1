#include "storage/retention.hpp"

#include "core/assert.hpp"

#include <algorithm>

namespace penstock::storage {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

namespace {

/// The first timestamp of the key.
std::string age_of(const table& table) {
  for (const auto& name : table.key)
    for (const auto& column : table.columns)
      if (column.name == name && column.type == column_type::timestamp)
        return name;
  return {};
}

class row_task final : public retention_task {
public:
  row_task(std::unique_ptr<store> store, row_retention kept) : store_(std::move(store)), kept_(std::move(kept)) {
    const auto wrong = kept_.validate();
    assert_that(wrong.empty(), wrong.c_str());
    if (kept_.column.empty())
      kept_.column = age_of(kept_.table);
  }

  result<step_done> step() override {
    step_done done;
    const auto note = [&](std::uint64_t rows) {
      done.rows += rows;
      done.more = done.more || rows >= kept_.rows_max;
    };
    if (kept_.rows.count() > 0) {
      auto rows = store_->delete_older(kept_.table, kept_.column, wall_now() - kept_.rows, kept_.rows_max);
      if (!rows)
        return rows.error();
      note(*rows);
    }
    if (kept_.letters.count() > 0) {
      auto letters = store_->delete_older_letters(kept_.table.pipeline, wall_now() - kept_.letters, kept_.rows_max);
      if (!letters)
        return letters.error();
      note(*letters);
    }
    return done;
  }

  /// A hundredth of what is kept: nobody sees that a row of 90 days stayed for some hours more. At most ten minutes.
  milliseconds round_every() const override {
    auto shortest = milliseconds::max();
    for (const auto kept : {kept_.rows, kept_.letters})
      if (kept.count() > 0)
        shortest = std::min(shortest, kept);
    return std::clamp<milliseconds>(shortest / 100, 1s, 10min);
  }

private:
  std::unique_ptr<store> store_;
  row_retention kept_;
};

} // namespace

std::string row_retention::validate() const {
  if (rows.count() > 0 && column.empty() && age_of(table).empty())
    return table.pipeline + ": no column says how old a row is";
  return rows_max == 0 ? table.pipeline + ": rows_max must be positive" : std::string{};
}

std::unique_ptr<retention_task> make_row_retention(std::unique_ptr<store> store, row_retention kept) {
  return std::make_unique<row_task>(std::move(store), std::move(kept));
}

} // namespace penstock::storage
