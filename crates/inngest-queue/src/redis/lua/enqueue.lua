-- Adds rows, each as `offer` says.
-- ARGV: now, horizon, most entries, process, number of rows, rows.
-- Returns: generation, whether the caller is to look, then added, replaced, known, beyond, full.
if not generation then return { 'NOGEN' } end
local now, horizon, max, process = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local counts = { a = 0, r = 0, k = 0, b = 0, f = 0 }
local at = 6
for _ = 1, tonumber(ARGV[5]) do
  local row
  row, at = read_row(at)
  local result = offer(row, now, horizon, max)
  counts[result] = counts[result] + 1
end
return { generation, wake(process), counts.a, counts.r, counts.k, counts.b, counts.f }
