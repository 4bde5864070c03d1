// The source table of a publish pipeline, as `penstock load --create` makes it.
#pragma once

#include "config/config.hpp"
#include "storage/schema.hpp"

#include <string>
#include <vector>

namespace penstock::nodes {

/// The columns that a source table is sure to have, beside those that the pipeline names.
inline constexpr const char* value_column = "Value";
inline constexpr const char* quality_column = "Quality";
inline constexpr const char* timestamp_column = "Timestamp";

/// Key, `order`, `shard_by` and `version` (with on_update publish), Value, Quality and Timestamp, and whatever else
/// `fields`, `payload`, `topic` and `where` name. Its indexes are those that finding new rows needs.
storage::table source_table_of(const config::publish& pipeline, config::database_kind kind,
                               const storage::sql_words& words);

/// The statements that make it, in order. A schema of PostgreSQL's is made as well.
std::vector<std::string> create_source_sql(const config::publish& pipeline, config::database_kind kind,
                                           const storage::sql_words& words);

/// A column that an SQL condition names.
struct named_column {
  std::string name;
  column_type type = column_type::text; ///< integer or real where it is compared with such a number
};
/// By the looks of it: whatever is no keyword, function, number or text. PostgreSQL writes names that stand in no
/// quotes in small letters.
std::vector<named_column> columns_of_condition(const std::string& condition, config::database_kind kind);

} // namespace penstock::nodes
