package distributary.interop;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import software.amazon.event.ruler.JsonRuleCompiler;
import software.amazon.event.ruler.Machine;

/** Reads lines {"pattern": TEXT, "events": [TEXT, ...]}; prints "bad: REASON", or "match" or "no" for each event, with spaces between. */
public final class Ruler {
    public static void main(String[] args) throws Exception {
        var mapper = new ObjectMapper();
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        for (String line; (line = in.readLine()) != null; ) {
            JsonNode node = mapper.readTree(line);
            String pattern = node.get("pattern").asText();
            String defect = JsonRuleCompiler.check(pattern);
            if (defect != null) {
                out.println("bad: " + defect.replace('\n', ' '));
                continue;
            }
            var machine = new Machine();
            machine.addRule("rule", pattern);
            var words = new StringBuilder();
            for (JsonNode event : node.get("events")) {
                boolean matches = !machine.rulesForJSONEvent(event.asText()).isEmpty();
                words.append(words.length() > 0 ? " " : "").append(matches ? "match" : "no");
            }
            out.println(words);
        }
        out.flush();
    }
}
