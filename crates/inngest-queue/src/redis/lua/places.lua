-- Where entries are.
-- ARGV: ids.
-- Returns: generation, then for each id its place as in its entry, or ''.
if not generation then return { 'NOGEN' } end
local result = { generation }
for _, id in ipairs(ARGV) do result[#result + 1] = call('HGET', entry_key(id), 'p') or '' end
return result
