-- Removes every record of jobs that stand in no index any more. Needs: many.
local function erase(ids)
  for _, name in ipairs({'heads', 'bodies', 'runs', 'history', 'progress'}) do
    many('HDEL', ns .. name, ids)
  end
end
