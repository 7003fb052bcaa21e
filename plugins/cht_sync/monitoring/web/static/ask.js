/** Asks the API beside the page; what goes wrong becomes one sentence for the reader. */
export async function ask(path) {
  let answer;
  try {
    answer = await fetch(path, { headers: { Accept: "application/json" } });
  } catch {
    throw new Error("Airflow's API server does not answer.");
  }
  if (answer.status === 401) throw new Error("You are signed out: sign in to Airflow again.");
  if (!answer.ok) {
    const { detail } = await answer.json().catch(() => ({}));
    if (answer.status === 403 && !String(detail).startsWith("Ids of documents"))
      throw new Error("You may not see this: it takes the right to read the DAG cht_sync.");
    throw new Error(typeof detail === "string" ? detail : `Airflow's API server answered ${answer.status}.`);
  }
  return answer.json();
}
