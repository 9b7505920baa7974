// Asks for the API key of a service that has one.

import { useState } from "preact/hooks";
import { keepKey, type Problem } from "./service";

interface Props {
  onKey: () => void;
  wasRefused: Problem;
}

export function KeyForm({ onKey, wasRefused }: Props) {
  const [wasTried, setTried] = useState(false);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget as HTMLFormElement).get("key");
    keepKey(String(given).trim());
    setTried(true);
    onKey();
  };
  return (
    <form class="card narrow" onSubmit={submit}>
      <h1>This service asks for a key</h1>
      <p class="quiet">
        It is the value of <code>FUSION_API_KEY</code> where the service was started. This tab keeps
        it until it is closed.
      </p>
      <label for="key">API key</label>
      <div class="row">
        <input
          id="key"
          name="key"
          type="password"
          autocomplete="off"
          required
          aria-invalid={wasTried}
          aria-describedby={wasTried ? "key-problem" : undefined}
        />
        <button class="strong">Continue</button>
      </div>
      {wasTried && (
        <p class="problem" id="key-problem" role="alert">
          {wasRefused.message}
        </p>
      )}
    </form>
  );
}
