//! Scripts, by what they are about. None prints what differs from run to run: pids, times, its directory.

#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) script: &'static str,
    /// What it reads; `None` is an empty stdin.
    pub(super) stdin: Option<&'static [u8]>,
    /// Whether it means the same in a session: not where it asks what shell it is in, or what only a shell's end does.
    pub(super) in_session: bool,
}

pub(super) const fn script(script: &'static str) -> Case {
    Case { script, stdin: None, in_session: true }
}

const fn of_its_shell(script: &'static str) -> Case {
    Case { script, stdin: None, in_session: false }
}

const fn reads(script: &'static str, stdin: &'static [u8]) -> Case {
    Case { script, stdin: Some(stdin), in_session: true }
}

pub(super) const QUOTING: &[Case] = &[
    script(r#"echo 'single $HOME "x" \' "double \$ \` \\ \" \n" un\ quo\ted $'\t\x41\u00e9\0cut' "" '' end"#),
    script(r#"printf '[%s]' "a  b" 'c*d' e\ f "" $'g\nh' "$(printf 'i\n\n')" ; echo"#),
    script(r#"printf '%q ' "a b" "it's" $'tab\t' '' '$x' '*' $'\xff' '~' ; echo"#),
    script(r#"echo "a$(echo "b'c" "$(echo "d\"e" '$(f)')")g" `echo h \`echo i\``"#),
    script("echo \"one \\\ntwo\" three \\\nfour; echo 'five \\\nsix'"),
    script("echo a # not this ; echo b\necho c#d '#e'"),
    script(r#"echo hi! !x "!y" \!z"#),
    script(r#"echo {a,b{1,2}}{x..z} {1..10..3} {01..03} {c} {d,} "{e,f}" {5..1}"#),
    script(r#"HOME=/nowhere; echo ~ ~/x "~" '~' a~ ~root x=~"#),
    script(r#"eval "echo \$((1+1)) 'a b'" \; 'echo "$(eval echo nested)"'"#),
    script(r#"set -- a "b c" '' d; printf '[%s]' "$@" "$*" $* ; echo " $#"; shift 2; echo "$1|${2}|${@: -1}""#),
    script("printf '%s' 'no newline at the end'"),
    script("\n\n  echo leading blank lines\n\n"),
    script("echo carriage\r"),
    script("echo 'unbalanced"),
    script("echo \"unbalanced $("),
    script("for x in 1 2; do echo $x"),
    script("if true; then echo yes; fi; done"),
    script("echo before; ) echo after"),
    script("# nothing but a comment"),
    script("echo ${"),
];

pub(super) const HERE_DOCUMENTS: &[Case] = &[
    script("x=5; cat <<END\nvalue $x $((x + 1)) $(echo sub) \\$x `echo tick`\n\"quotes\" 'stay'\nEND"),
    script("x=5; cat <<'END'\nvalue $x $(echo sub) \\\nEND"),
    script("cat <<-END\n\t\ttabs\n\t  go\n\tEND\necho after"),
    script("cat <<ONE; cat <<TWO\nfirst\nONE\nsecond\nTWO"),
    script("f() { cat <<END\n$1 and $2\nEND\n}; f a b; f c d | tr a-z A-Z"),
    script("while read -r line; do echo \"<$line>\"; done <<END\none two\n  three\n\\four\nEND"),
    script("cat <<<'here string'; tr a-z A-Z <<<\"$(echo a; echo b)\"; wc -c <<<''"),
    script("cat <<END\nnever ended"),
    script("cat <<END | wc -c\n$(printf 'x%.0s' {1..100000})\nEND"),
    script("cat 3<<A 4<<B <&3 - <&4\na\nA\nb\nB"),
    script("bash <<'END'\necho inner $0 | wc -w\nexit 3\nEND\necho $?"),
    script("python3 - <<'END'\nimport sys\nprint('from python')\nsys.exit(4)\nEND"),
    script("cat <<\"E N D\"\nspaces in the word\nE N D"),
    script("cat <<END\nno newline in it: ${nope-}END\nEND"),
];

pub(super) const PIPELINES: &[Case] = &[
    script("true | false | (exit 3) | cat; echo ${PIPESTATUS[@]} $?"),
    script("false | true; echo $?; set -o pipefail; false | true; echo $?; (exit 4) | (exit 5) | true; echo $?"),
    script("! true; echo $?; ! false | true; echo $?; ! ! true; echo $?"),
    script("yes | head -n 2; echo ${PIPESTATUS[@]}"),
    script("x=1; echo 2 | read x; echo $x; shopt -s lastpipe; echo 3 | read x; echo $x"),
    script("{ echo out; echo err >&2; } |& sort; { echo out; echo err >&2; } 2>&1 | sort"),
    script("seq 1000 | while read n; do ((n % 250)) || echo $n; done | tac"),
    script("echo a | { read x; echo got $x; } && echo b || echo c; false && echo d || echo e"),
    script("seq 100000 | sort -rn | head -n 3; echo ${PIPESTATUS[0]}"),
    script(": | no-such-command-here | cat; echo ${PIPESTATUS[@]}"),
    script("seq 5 | tee >(cat >/dev/null) two | tail -n 1; cat two | wc -l"),
    script("cat /dev/zero | head -c 300000 | wc -c"),
];

pub(super) const ARRAYS: &[Case] = &[
    script(
        r#"a=(one "two three" [5]=six); echo ${#a[@]} ${!a[@]} "${a[1]}" "${a[@]: -1}"; a+=(x); unset 'a[0]'; printf '<%s>' "${a[@]}""#,
    ),
    script(r#"declare -A m=([k]=v ["a b"]=c); m[z]=; for k in "${!m[@]}"; do echo "$k=${m[$k]}"; done | sort; echo ${#m[@]}"#),
    script(r#"a=({1..9}); echo ${a[@]:2:3} ${a[@]: -2} ${a[*]/#/n} "${a[@]^^}" ${#a}"#),
    script(r#"IFS=,; a=(1 2 3); echo "${a[*]}" "${a[@]}"; read -ra b <<<"x,y,,z"; declare -p b"#),
    script(
        "mapfile -t lines < <(printf 'a\\nb c\\n\\nd'); declare -p lines; mapfile -d '' z < <(printf 'x\\0y\\0'); echo ${#z[@]}",
    ),
    script("a=(1 2); b=(\"${a[@]}\" 3); a[10]=x; declare -p a b; declare -a c=(); echo ${#c[@]} \"${c[@]-none}\""),
    script("declare -r a=(1); a[0]=2; echo not reached in a script? $?"),
    script("declare -i n=3+4; n+=5; echo $n; declare -u s=abc; echo $s; declare -l s=ABC; echo $s; declare -n r=s; r=X; echo $s"),
];

pub(super) const ARITHMETIC: &[Case] = &[
    script("echo $((7/2)) $((-7%3)) $((2**10)) $((0x1f)) $((010)) $((1<<40)) $((36#z)) $((1?2:3)) $((~5)) $((3,4))"),
    script("echo $((9223372036854775807+1)) $((-9223372036854775807-2))"),
    script("echo before; echo $((1/0)); echo after $?"),
    script("x=5; ((x++)); echo $x $?; ((x=0)); echo $?; let 'y = x + 3' z=2; echo $y $z; echo $((x+=y, x))"),
    script("for ((i=0; i<3; i++)); do echo -n $i; done; echo; ((i > 2)) && echo bigger"),
    script("a=b b=7; echo $((a)) $((a+1)); echo $((08))"),
    script("echo $(( $(echo 3) * ${#HOME} > 0 )) $((\n1 +\n2))"),
    script("printf '%d %x %o %e %5.2f|%-5s|%05d|%c|%b\\n' 42 255 8 12345.678 3.14159 ab 7 hello 'a\\tb'"),
    script("printf '%d\\n' nonsense; echo $?; printf '%s %s\\n' a b c; printf '%z'; echo $?"),
];

pub(super) const EXPANSIONS: &[Case] = &[
    script("unset x; echo ${x:-d} ${x-e} ${x:=f} $x ${x:+g} ${x:?never}; y=; echo \"${y:-empty}\" \"${y-unset}\" ${#x}"),
    of_its_shell("unset x; echo before; echo ${x:?it is missing}; echo after"),
    script(
        "p=/a/b/c.tar.gz; echo ${p##*/} ${p#*/} ${p%%.*} ${p%.*} ${p/b/B} ${p//[abc]/-} ${p/#\\/a/X} ${p/%gz/xz} ${p:3:2} ${p: -2}",
    ),
    script("v=hElLo; echo ${v^} ${v^^} ${v,} ${v,,} ${v~~} ${v@Q} ${v@U} ${v@L}; n=v; echo ${!n}; echo ${!v*}"),
    script("f() { echo $# \"$*\"; }; x='a b'; f $x; f \"$x\"; f $x\"$x\"; f ${x:+\"c d\"}"),
    script("echo \"$(printf 'a\\n\\n\\n')\"x; y=$(printf 'b\\n c\\n'); echo \"$y\" $y"),
    script("x=$(printf 'a\\0b'); echo ${#x} \"$x\""),
    script("echo $(exit 3) $?; x=$(exit 4); echo $?; local y=$(exit 5); echo $?"),
    script("set -- x y; echo $0 | wc -w; echo $# ${#} ${@:1:1} ${*: -1} $_"),
    of_its_shell(
        "echo ${BASH_VERSINFO[0]} $BASH_SUBSHELL $SHLVL ${FUNCNAME[0]-none} $LINENO\necho $LINENO ${BASH_EXECUTION_STRING:+string}",
    ),
    script("cat <(echo one) <(echo two) | paste -s; diff <(seq 3) <(seq 2 4); echo $?; wc -c < <(printf 12345)"),
    script("bad-substitution() { echo ${a b}; }; bad-substitution; echo after"),
    script("echo $'\\101\\x42\\u0043\\U00000044\\cE\\e' | od -An -c; echo -e 'a\\nb\\c' not; echo -n; echo -E 'x\\n'"),
];

pub(super) const PATTERNS: &[Case] = &[
    script(
        "touch a b .c 'd e' 'f*' $'g\\nh' '[i]' -- -j; echo *; echo ? ; echo [a-b]; echo nothing*; printf '<%s>' d* f\\** *$'\\n'*",
    ),
    script("touch a.x b.x .h; shopt -s nullglob dotglob; echo *.x *.none * ; shopt -u nullglob; echo *.none"),
    script("shopt -s extglob\ntouch aa ab ba; echo @(a|b)a !(aa) +(a) ?(a)b *(b)a; [[ foobar == foo@(bar|baz) ]] && echo yes"),
    script("mkdir -p x/y/z; touch x/1 x/y/2 x/y/z/3; shopt -s globstar; echo ** x/**/[0-9]"),
    script("shopt -s failglob; echo before; echo no-*; echo after"),
    script("set -f; touch a; echo *; set +f; echo *; set -o noglob; echo ?"),
    script(
        "for w in apple bat 3 'x y' ''; do case $w in a*|b*) echo ab;; [0-9]) echo digit;;& *) echo other;; esac; done; case x in x) echo 1;& y) echo 2;; esac",
    ),
    script(
        "[[ 'foo 123' =~ ^([a-z]+)\\ ([0-9]+)$ ]]; echo $? ${BASH_REMATCH[@]}; [[ a =~ ( ]]; echo $?; [[ a < b && ! -e nope ]]; echo $?",
    ),
    script("shopt -s nocasematch nocaseglob; touch ABC; [[ Abc == aBC ]] && echo same; echo abc*"),
    script("touch $'\\xff\\xfe' héllo; printf '%s\\0' * | od -An -tx1; ls | wc -l"),
];

pub(super) const WORDS: &[Case] = &[
    script("IFS=:; x=a:b::c:; for w in $x; do echo \"<$w>\"; done; echo \"$x\" $x"),
    script(
        "IFS=: read -r a b c <<<'1:2:3:4'; echo \"$a|$b|$c\"; read -r x y <<<'  lead  trail  '; echo \"[$x][$y]\"; IFS= read -r z <<<'  kept  '; echo \"[$z]\"",
    ),
    script("x=$'a\\tb\\nc  d'; echo $x; IFS=; echo $x; unset IFS; set -- $x; echo $#; IFS=$'\\n'; set -- $x; echo $#"),
    script("IFS='x,'; v='1x2,3'; set -- $v; echo $# \"$*\"; echo $v"),
    script(
        "printf '%s\\n' \"a b\" c | xargs -n1 echo; printf 'a b\\0c\\0' | xargs -0 -n1 echo; echo 'x y' | xargs -I{} echo '[{}]'",
    ),
    script("while IFS=, read -r a b; do echo \"$b $a\"; done < <(printf '1,2\\n3,4\\n5'); echo \"$a\""),
];

pub(super) const BYTES: &[Case] = &[
    script("for i in {0..255}; do printf -v byte '\\\\x%02x' $i; printf \"$byte\"; done"),
    script("for i in {255..0}; do printf -v byte '\\\\x%02x' $i; printf \"$byte\"; done >&2"),
    script("for i in {0..255}; do printf -v byte '\\\\x%02x' $i; printf \"$byte\\n\"; printf \"$byte\" >&2; done"),
    script("printf '\\0'; printf '\\0\\0\\n\\0' >&2"),
    script("printf '\\xff\\xfe\\xc3'; printf '\\xa9'; printf '\\xf0\\x9f' >&2; printf '\\x8c\\x8a' >&2"),
    script("printf 'a\\r\\nb\\rc\\n\\n\\n'"),
    script("printf '\\n'; printf ' \\n \\t' >&2"),
    script("echo 'data: x'; echo; echo 'event: y'; echo 'id: 1'; echo ':comment'; echo 'retry: 5'; printf 'data: last\\n\\n'"),
    script(
        r#"echo '{"type":"result","process":"a-1","exit":{"type":"exited","code":0},"duration_ms":1}'; echo '{"type":"error","code":"internal"}' >&2"#,
    ),
    script(
        r#"echo '{"type":"stdout","offset":0,"bytes":"x"}'; echo '{"base64":"AAAA"}'; printf '{"type":"event","id":"script","payload":'"#,
    ),
    script(
        "printf '\\x01\\x01\\x01stdout\\x02\\x02\\x02stderr'; printf '\\x01\\x02\\x03' >&2; printf '\\x04\\x1a\\x7f\\x1b[31m\\x1b]0;t\\x07'",
    ),
    script("printf '\\u2028\\u2029\\ufeff\\u0000\\u200f\\U1f468\\u200d\\U1f469'; printf '\\ud800' | od -An -tx1"),
    script(
        "python3 -c 'import sys, random; random.seed(7); sys.stdout.buffer.write(random.randbytes(100000)); sys.stderr.buffer.write(random.randbytes(100000))'",
    ),
];

pub(super) const STREAMS: &[Case] = &[
    script("for i in {1..200}; do echo out $i; echo err $i >&2; done"),
    script("echo a; echo b >&2; echo c 2>&1; echo d 1>&2; { echo e; echo f >&2; } 2>&1; { echo g; echo h >&2; } >&2"),
    script("exec 3>&1 1>&2 2>&3 3>&-; echo to stderr; echo to stdout >&2"),
    script("echo x > /dev/stdout; echo y > /dev/stderr; echo z >> /dev/fd/1; echo w > /dev/fd/2"),
    script("exec >&-; echo lost; echo $? >&2"),
    script("exec 2>&-; echo kept; no-such-command-here; echo $?"),
    script("echo a >file; echo b >>file; cat file; cat <file >copy; cmp file copy && echo same; : >file; wc -c <file"),
    script("{ echo out; echo err >&2; } >both 2>&1; cat both; { echo out; echo err >&2; } &>>both; wc -l <both"),
    script("set -C; echo a >f; echo b >f; echo $?; echo c >|f; cat f"),
    script("exec 5<>rw; echo line >&5; exec 5>&-; cat rw; echo bad >&5; echo $?; echo worse >&99"),
    script("cat <nowhere; echo $?; echo x >no/such/directory; echo $?; cat nowhere 2>/dev/null || echo failed"),
    script("python3 -c 'import os\nfor i in range(50): os.write(1, b\"o%d\" % i); os.write(2, b\"e%d\" % i)'"),
    script("echo one; sleep 0.05; echo two >&2; sleep 0.05; printf three"),
];

pub(super) const SIZES: &[Case] = &[
    script("head -c 1048576 /dev/zero"),
    script("head -c 1048576 /dev/zero | tr '\\0' '\\377' >&2"),
    script("head -c 1048577 /dev/zero | tr '\\0' x"),
    script("seq 1 150000; seq 1 150000 >&2"),
    script("seq 1 100000 & seq 100000 >&2 & wait"),
    script("yes '\u{1f30a}' | head -c 1000001"),
    script("printf 'x%.0s' {1..65535}; printf '\u{1f30a}'; printf 'y%.0s' {1..65536} >&2; printf '\u{e9}' >&2"),
    script("printf 'x%.0s' {1..4096}; printf z; printf 'y%.0s' {1..4095} >&2"),
    script("for i in {1..3000}; do printf x; done"),
    script("x=$(head -c 1000000 /dev/zero | tr '\\0' x); echo ${#x}; echo \"$x\" | md5sum"),
    script("head -c 300000 /dev/zero | tr '\\0' '\\n'"),
];

pub(super) const EXITS: &[Case] = &[
    script("true"),
    script("false"),
    script("exit"),
    script("(exit 5); exit"),
    script("exit 256"),
    script("exit -1"),
    script("exit 1 2; echo went on"),
    script("exit nonsense"),
    of_its_shell("return 3; echo went on $?"),
    script("no-such-command-here"),
    script("./nothing-here"),
    script("echo x >script; ./script"),
    script("printf '#!/no/such/interpreter\\n' >script; chmod +x script; ./script"),
    script("printf 'echo no interpreter line; exit 6' >script; chmod +x script; ./script"),
    script("mkdir d; ./d"),
    script("sh -c 'exit 9'"),
    script("false; echo $?; (exit 42); echo $?; exit $?"),
    script("f() { return 7; }; f"),
    script("f() { exit 8; }; f; echo never"),
    script("[ 1 = 2 ]"),
    script("test"),
    script("[ 1 -eq x ]"),
    script("break; echo $?; continue 2; echo $?"),
    script("cd nowhere; echo $?"),
];

pub(super) const SIGNALS: &[Case] = &[
    script("kill -9 $$"),
    of_its_shell("kill $$; echo never"),
    of_its_shell("kill -INT $$; echo never"),
    script("kill -HUP $$; echo never"),
    script("ulimit -c 0; kill -SEGV $$"),
    script("ulimit -c 0; kill -ABRT $$"),
    script("kill -USR1 $$"),
    of_its_shell("kill -RTMIN+5 $$"),
    script("kill -PIPE $$"),
    script("kill -ALRM $$; echo never"),
    script("kill -KILL 0"),
    script("exec sh -c 'kill -TERM $$'"),
    script("{ bash -c 'kill -9 $$'; } 2>/dev/null; echo $?; { sh -c 'kill -11 $$'; } 2>/dev/null; echo $?"),
    script("trap '' INT TERM; kill -INT $$; kill $$; echo survived"),
    script("trap 'echo caught USR1' USR1; kill -USR1 $$; echo then; kill -USR1 $$"),
    script("trap 'echo bye; exit 4' TERM; kill $$; echo never"),
    script("trap 'echo at exit $?' EXIT; echo body; exit 3"),
    of_its_shell("trap 'echo at exit' EXIT; kill -TERM $$"),
    of_its_shell("trap 'echo at exit' EXIT; no-such-command-here; false"),
    script("trap 'echo ERR $? $LINENO' ERR; false; (exit 3); true; f() { false; }; f"),
    script("trap 'echo DEBUG $BASH_COMMAND' DEBUG; x=1; echo $x; trap - DEBUG; echo done"),
    of_its_shell("f() { trap 'echo RETURN' RETURN; echo in f; }; f; trap 'echo x' INT; trap -p; trap - INT; trap -p INT"),
    of_its_shell("(trap 'echo sub' EXIT; echo in); trap 'echo main' EXIT; (echo inherits nothing)"),
    of_its_shell("trap 'kill -KILL $$' EXIT; echo last words"),
    script("kill -l TERM; kill -l 9 137; kill -0 $$ && echo alive; kill -NOPE $$; echo $?"),
    script("sleep 3701.5 & kill $!; wait $!; echo $?; sleep 3701.5 & kill -9 $!; wait $! 2>/dev/null; echo $?"),
    script("set -m; sleep 3702.5 & kill -STOP %1; kill -CONT %1; kill %1; wait %1 2>/dev/null; echo $?"),
];

pub(super) const OPTIONS: &[Case] = &[
    script("set -e; echo a; false; echo never"),
    script("set -e; false || echo saved; if false; then :; fi; ! true; false && true; echo still here; (exit 3)"),
    script("set -e; f() { false; echo in f; }; f || echo or; f; echo never"),
    script("set -e; x=$(false); echo never"),
    script("set -e; echo $(false) goes on; (false; echo never); echo never"),
    of_its_shell("set -u; echo ${x-unset}; echo $x; echo never"),
    of_its_shell("set -u; a=(); echo \"${a[@]}\" ok; echo $1"),
    of_its_shell("set -x; echo a 'b c' $((1+1)); PS4='> '; x=1; set +x; echo quiet"),
    script("set -v; echo a\necho b\nset +v\necho c"),
    of_its_shell("set -n; echo never\necho never"),
    script("set -euo pipefail; echo a | cat; false | true; echo never"),
    script("set -o | grep -E 'errexit|pipefail|posix'; shopt extglob; shopt -q nullglob; echo $?"),
    script("set -eE; trap 'echo trapped $?' ERR; f() { false; }; f; echo never"),
    script("set -o posix; set -o nonsense; echo $?"),
    script("set -k; sh -c 'echo $A' A=1; set +k; set -- -e x; echo $1"),
    script(
        "set -a; EXPORTED=yes; sh -c 'echo ${EXPORTED-no}'; set +a; PLAIN=x; sh -c 'echo ${PLAIN-no}'; ONLY=here sh -c 'echo $ONLY'; echo ${ONLY-gone}",
    ),
];

pub(super) const FUNCTIONS: &[Case] = &[
    script("fact() { (($1 < 2)) && echo 1 || echo $(($1 * $(fact $(($1 - 1))))); }; fact 10"),
    script("x=global; f() { local x=local; g; echo $x; }; g() { echo $x; x=changed; }; f; echo $x"),
    script("f() { echo \"$@\"; return $#; }; f a b c; echo $?; f; echo $?"),
    script("f() { declare -g y=1; local -r z=2; z=3; echo never? $?; }; f; echo ${y-unset}"),
    of_its_shell("f() { echo ${FUNCNAME[@]} ${BASH_LINENO[0]}; caller; }; g() { f; }; g"),
    script("f() { echo hi; }; declare -f f; type f; unset -f f; f; echo $?"),
    script("f() { echo exported; }; export -f f; bash -c f; function g { echo other; }; g"),
    script("f() { for i in 1 2 3; do [ $i = 2 ] && return 5; echo $i; done; }; f; echo $?; f() (exit 6); f; echo $?"),
    script("f() { echo out; echo err >&2; } >file 2>&1; f; cat file; f() { cat; } <<<heredoc; f"),
    script("deep() { (($1)) && deep $(($1 - 1)) || echo bottom; }; deep 300"),
    script("FUNCNEST=5; f() { f; }; f; echo $?"),
];

pub(super) const SUBSHELLS: &[Case] = &[
    script("x=1; (x=2; echo $x; exit 3); echo $? $x; { x=4; }; echo $x"),
    script(
        "(echo $BASH_SUBSHELL; (echo $BASH_SUBSHELL)); echo $BASH_SUBSHELL; [ $$ != $BASHPID ] || echo same; ([ $$ != $BASHPID ] && echo other)",
    ),
    script("mkdir d; (cd d && touch inside); ls; cd d; ls; cd - >/dev/null; ls d"),
    script("bash -c 'echo $0 $1' name arg; bash -c 'bash -c \"exit 9\"; echo $?'; bash -c 'echo \"$@\"' x 'a b' c"),
    script("bash -c 'echo inner; exec sh -c \"echo innermost; exit 11\"; echo never'; echo $?"),
    script("env -i /bin/sh -c 'echo ${HOME-none}'; env A=1 sh -c 'echo $A'; export B=2; sh -c 'echo $B; B=3'; echo $B"),
    script("echo $(echo a; (echo b; exit 2); echo $?); `echo echo c`; $(echo exit 12)"),
    script(
        "coproc cat; echo through >&${COPROC[1]}; read -r line <&${COPROC[0]}; echo $line; eval \"exec ${COPROC[1]}>&-\"; wait; echo $?",
    ),
    script("( ( ( exit 13 ) ) ); echo $?; { (kill -9 $BASHPID); } 2>/dev/null; echo $?"),
];

pub(super) const BACKGROUND: &[Case] = &[
    script("(exit 3) & wait $!; echo $?; wait; echo $?"),
    script("for i in 1 2 3; do (sleep 0.0$i; exit $i) & pids+=($!); done; for p in ${pids[@]}; do wait $p; echo $?; done"),
    script("(sleep 0.05; exit 7) & (sleep 3703.5) & slow=$!; wait -n; echo $?; kill $slow; wait $slow; echo $?"),
    script("{ until [ -e go ]; do sleep 0.01; done; echo later; } & echo now; touch go; wait"),
    script("{ echo a; sleep 0.02; echo b >&2; } & wait; echo c"),
    script("sleep 0.2 & echo at once"),
    script(
        "(trap 'echo told; exit 5' TERM; echo ready >fifo-ready; while :; do sleep 0.01; done) & until [ -s fifo-ready ]; do sleep 0.01; done; kill $!; wait $!; echo $?",
    ),
    script("mkfifo p; cat p & echo through >p; wait; echo $?"),
    script("wait 999999; echo $?; wait %9; echo $?; fg; echo $?"),
    script("true & wait; for i in {1..50}; do true & done; wait; echo all"),
    script(
        "nohup sh -c 'exit 4' >/dev/null 2>&1; echo $?; setsid -w sh -c 'exit 5'; echo $?; timeout 0.05 sleep 3704.5; echo $?",
    ),
    script("exec 3< <(sleep 0.05; echo sub); cat <&3; wait $!; echo $?"),
];

pub(super) const INPUT: &[Case] = &[
    script("cat; echo $?; read x; echo $?; wc -c"),
    script("head -n 1; cat"),
    reads("cat", b"text\n"),
    reads("cat", b""),
    reads("cat", b"no newline"),
    reads("cat >&2", b"\0\xff\xfe\n\x80"),
    reads("read -r a; echo \"[$a]\"; read -r b; echo \"[$b] $?\"; read -r c; echo \"[$c] $?\"", b"one\ntwo"),
    reads("while IFS= read -r line; do echo \"<$line>\"; done; echo \"rest <$line>\"", b" a \n\\b\n\nlast"),
    reads("read -n 3 x; echo $x; read -d ';' y; echo \"$y\"; cat", b"abcdef;ghi\nrest\n"),
    reads("read -ra words; echo ${#words[@]}; mapfile -t lines; echo ${#lines[@]} ${lines[-1]}", b"a b c\nd\ne f\n"),
    reads("exec <&-; cat; echo $?", b"unread"),
    reads("exec 0</dev/null; cat; echo $?", b"unread"),
    reads("echo does not read", b"unread"),
    reads("(read a; echo sub $a); read b; echo $b", b"one\ntwo\n"),
    reads("bash", b"echo script from stdin; exit 3\n"),
    reads("bash -s arg", b"echo $1; read x; echo read $x\nthis line\necho end"),
    reads("python3 -c 'import sys; print(len(sys.stdin.buffer.read()))'; cat | wc -c", &[b'x'; 65_536]),
    reads("wc -c; md5sum", &[0xa5; 60_000]),
    reads("tr a-z A-Z | rev; echo ${PIPESTATUS[@]}", b"pipe\n"),
    reads("wc -c", &[b'y'; 1 << 20]),
    reads("cat", &[b'\n'; 1 << 20]),
    reads("head -c 10; echo; exit 5", &[b'z'; 1 << 20]),
    reads("true", &[0; 1 << 20]),
    reads("exec sh -c 'cat; exit 2'", b"handed on"),
    reads("cat | cat | cat >file; cat file file", b"thrice\n"),
    reads("sleep 0.05; cat; exit 1", b"late reader\n"),
    script("test -t 0; echo $?; tty; test -t 1 || test -t 2; echo $?; stty size 2>/dev/null; echo $?"),
];

pub(super) const REPLACEMENT: &[Case] = &[
    script("exec echo replaced; echo never"),
    script("exec bash -c 'echo $0; exit 7' name"),
    script("exec -a other-name sh -c 'echo $0'"),
    script("exec no-such-command-here; echo never"),
    script("exec /nothing/here"),
    script("shopt -s execfail; exec no-such-command-here; echo went on $?"),
    script("exec >file; echo hidden; cat file >&2"),
    script("exec 5<<<'fifth'; cat <&5; exec 5<&-; cat <&5"),
    script("trap 'echo never' EXIT; exec true"),
    script("exec env -i /bin/sh -c 'exec echo clean'"),
    script("exec python3 -c 'import os; os.kill(os.getpid(), 10)'"),
    script("exec; echo nothing happened; (exec sh -c 'exit 3'); echo $?"),
];

pub(super) const LOCALES: &[Case] = &[
    script("x=h\u{e9}llo\u{1f30a}; echo ${#x} ${x:1:1} ${x^^}; LC_ALL=C; echo ${#x}; printf '%s' \"${x:1:1}\" | od -An -tx1"),
    script("printf '%s\\n' b A a B \u{e9} Z | LC_ALL=C sort; printf '%s\\n' b A a B | LC_ALL=C.UTF-8 sort"),
    script("LC_ALL=xx_NOWHERE.UTF-8; echo after; LANG=yy bash -c 'echo inner'"),
    script("LC_ALL=C.UTF-8 printf '%5s|%-5s|\\n' \u{e9} \u{e9}; LC_ALL=C printf '\\u00e9\\n'; echo -e '\\u20ac'"),
    script("export LC_ALL=C; ls nowhere; echo '\u{e9}' | cut -c1 | od -An -tx1; [[ \u{e9} == ? ]]; echo $?"),
    script("echo \u{65e5}\u{672c}\u{8a9e} >\u{6587}\u{4ef6}; cat \u{6587}*; ls; \u{51fd}() { echo f; }; \u{51fd}"),
    script("locale 2>&1 | sort | head -n 3; echo ${LANG-unset} ${LC_ALL-unset}"),
];

pub(super) const BUILTINS: &[Case] = &[
    script("alias hi='echo aliased'; hi; shopt -s expand_aliases; alias ho='echo expanded'\nho there"),
    script(
        "while getopts ab:c: o; do echo \"$o ${OPTARG-}\"; done; OPTIND=1; set -- -a -b val -x -c; while getopts ab:c: o; do echo \"$o ${OPTARG-}\"; done; echo $OPTIND",
    ),
    script(
        "type -t echo if bash f cat; command -v cd; builtin echo b; command echo c; enable -n echo; type -t echo; hash -r; hash -t nothing",
    ),
    script("umask; umask 027; touch f; stat -c %a f; umask -S; ulimit -n 64; ulimit -n"),
    script("pushd / >/dev/null; pwd; popd >/dev/null; cd /usr/../usr/./bin/..; pwd; cd -P .; dirs; cd ''; echo $?"),
    script("echo 'x=sourced; echo in $x; return 4' >lib; . ./lib; echo $? $x; source ./missing; echo went on $?"),
    script("times >/dev/null; printf -v out '%03d' 7; echo $out; read -t 0.01 x; echo $(($? > 0)); printf '%(%Y)T\\n' 0"),
    script("select x in a b; do echo $x; break; done <<<2; let; echo $?; test a -a b; echo $?; : ${x:=1}"),
    script("readonly R=1; R=2; echo never? $?"),
    script("unset PATH; ls; echo $?; /bin/echo by path"),
    script("shift; echo $?; shift 5; echo $?; echo ${!BASH_V*} | wc -w >/dev/null"),
    of_its_shell("declare -p BASH_SUBSHELL IFS; export -p | grep -c '^declare -x'; env | grep -c '^PATH='"),
    script("rm -r -- \"$PWD\"; pwd >/dev/null; echo $?; ls; cd .; echo $?; echo gone >file; echo $?"),
];
