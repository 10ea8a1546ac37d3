package replication

func AppendMessage(dst []byte, m *Message) []byte      { return dst }
func DecodeMessage(data []byte) (m Message, err error) { return }
