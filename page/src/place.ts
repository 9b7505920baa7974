// Where the page is, as its address after the #: a link, a bookmark and Back all work.

import { useEffect, useState } from "preact/hooks";

export type View = "for" | "compare" | "item" | "health";

export interface Place {
  view: View;
  id: string;
  options: URLSearchParams;
}

const VIEWS: readonly string[] = ["for", "compare", "item", "health"];

export function addressOf(view: View, id = "", options = new URLSearchParams()): string {
  const asked = options.toString();
  return `#/${view}/${encodeURIComponent(id)}${asked ? `?${asked}` : ""}`;
}

function readPlace(): Place {
  const [path = "", asked = ""] = location.hash.slice(2).split("?", 2);
  const [view = "", id = ""] = path.split("/", 2);
  return {
    view: VIEWS.includes(view) ? (view as View) : "for",
    id: decodeId(id),
    options: new URLSearchParams(asked),
  };
}

function decodeId(id: string): string {
  try {
    return decodeURIComponent(id);
  } catch {
    return id; // typed by hand
  }
}

/** The place now; the component is drawn again when it changes. */
export function usePlace(): Place {
  const [place, setPlace] = useState(readPlace);
  useEffect(() => {
    const follow = () => setPlace(readPlace());
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  return place;
}

export function go(address: string): void {
  location.hash = address;
}
