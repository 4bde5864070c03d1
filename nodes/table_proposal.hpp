// What a source table is proposed to be published with, by looking at its columns and indexes.
#pragma once

#include "storage/schema.hpp"

#include <string>
#include <vector>

namespace penstock::nodes {

/// Empty is what has no clear answer.
struct table_proposal {
  std::vector<std::string> key; ///< the smallest unique index (a primary key is one) whose columns are never NULL
  std::string order;            ///< a time: best one that an index begins with, or that is named as the row's creation
  std::string shard_by;         ///< a column named after a monitor, device, meter, ...
  std::string topic;            ///< data/<table>/{shard_by}, or with the first column of the key
};

/// `table`: TABLE or SCHEMA.TABLE.
table_proposal propose(const std::string& table, const storage::actual_table& actual);

/// TABLE of SCHEMA.TABLE, with - for what no pipeline's name has.
std::string pipeline_name_of(const std::string& table);

} // namespace penstock::nodes
