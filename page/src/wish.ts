// What is asked of the recommender, as options of the address.

import type { Wish } from "./service";

export const COUNTS = [5, 10, 20, 50];

export function readWish(userId: string, options: URLSearchParams): Wish {
  const wish: Wish = { user_id: userId, n: Number(options.get("n")) || 10 };
  const query = options.get("query")?.trim();
  const filter = options.get("filter")?.trim();
  if (query) wish.query = query;
  if (filter) wish.filter = filter;
  const diversity = readNumber(options, "diversity");
  if (diversity !== undefined) wish.diversity = diversity;
  const [satisfaction, value] = [readNumber(options, "satisfaction"), readNumber(options, "value")];
  if (satisfaction !== undefined) wish.objective = { ...wish.objective, satisfaction };
  if (value !== undefined) wish.objective = { ...wish.objective, value };
  const [column, most] = [options.get("per"), readNumber(options, "most")];
  if (column && most) wish.max_per = { [column]: most };
  return wish;
}

export function readNumber(options: URLSearchParams, name: string): number | undefined {
  const given = options.get(name);
  return given === null || given === "" || Number.isNaN(Number(given)) ? undefined : Number(given);
}

/** The options with some of them changed; an empty one is left out. */
export function changed(options: URLSearchParams, change: Record<string, string>): URLSearchParams {
  const found = new URLSearchParams(options);
  for (const [name, value] of Object.entries(change)) {
    if (value === "") found.delete(name);
    else found.set(name, value);
  }
  return found;
}
