# shellcheck shell=bash
# Plants the bugs of a folder, one by one, in a copy of the tree, and plays a simulation each time: a bug that is not
# noticed fails. Read by that folder's `run`, which says:
#   here=FOLDER  tests=(CARGO TEST …)  play=(WHAT IT PLAYS)  says=WHAT A FAILURE PRINTS, AS A PATTERN
# and passes on the NAMEs that are to be planted alone.
root=$(cd "$here/../../../.." && pwd)
copy=$(mktemp -d "${TMPDIR:-/tmp}/meridian-mutants.XXXXXX")
trap 'rm -rf "$copy"' EXIT
# Every file is new (`-m`): what an earlier run built holds the bug that it planted last.
git -C "$root" ls-files -z | tar -C "$root" --null --ignore-failed-read -cf - -T - | tar -C "$copy" -xmf -
# A folder of its own, so that nobody finds a program with a bug in the place of the tree's own.
export CARGO_TARGET_DIR="$root/target/mutants"
played() {
    # shellcheck disable=SC2154 # set by `run`
    (cd "$copy" && "${tests[@]}" --no-run) >"$copy/log" 2>&1 || return 2
    # shellcheck disable=SC2154 # set by `run`
    (cd "$copy" && timeout 900 "${tests[@]}" "${play[@]}") >"$copy/log" 2>&1 || return 1
}

played || { tail -30 "$copy/log" >&2; echo "mutants: the tree itself fails; nothing was planted" >&2; exit 1; }
survivors=() planted=0
for patch in "$here"/*.patch; do
    name=$(basename "$patch" .patch)
    [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
    planted=$((planted + 1))
    patch --quiet --directory "$copy" --strip 1 <"$patch"
    code=0
    played || code=$?
    case $code in
        0)
            survivors+=("$name")
            echo "NOT NOTICED  $name"
            ;;
        1)
            # shellcheck disable=SC2154 # set by `run`
            echo "noticed      $name  ($(grep -m1 -oE "$says" "$copy/log" || echo 'it did not end'))"
            ;;
        *)
            tail -30 "$copy/log" >&2
            echo "mutants: $name does not compile" >&2
            exit 1
            ;;
    esac
    patch --quiet --directory "$copy" --strip 1 --reverse <"$patch"
done
echo "mutants: $planted planted, ${#survivors[@]} not noticed"
[ ${#survivors[@]} -eq 0 ]
